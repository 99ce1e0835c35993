"""The health report: the state of the model, the data and the nights on one page."""

from flask import Response

from ml.reporting.report.page import make_report
from webapi import application_state
from webapi.access.authentication import requires
from webapi.api.problem_answers import new_api

api = new_api("health", __name__, "supervision")

# The page contains its style and its plots, and has no scripts.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = {"description": "OK", "content": {"text/html": {"schema": {"type": "string"}}}}


@api.get("/health/report", responses={200: _PAGE})
@requires("admin")
def get_health_report() -> Response:
    """Return one page to read or to mail: accuracy, drift, new images, the last nights, waiting tasks, alerts."""
    page = make_report(application_state.current_catalog(), application_state.current().settings)
    return Response(page, mimetype="text/html", headers={"Content-Security-Policy": _POLICY})
