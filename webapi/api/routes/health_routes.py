"""How the model, the data and the nights are, on one page."""

from flask import Response

from ml.reporting.report.page import make_report
from webapi import application_state
from webapi.access.authentication import requires
from webapi.api.problem_answers import new_api

api = new_api("health", __name__, "supervision")

# The page brings its style and its plots with it, and runs nothing.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = {"description": "OK", "content": {"text/html": {"schema": {"type": "string"}}}}


@api.get("/health/report", responses={200: _PAGE})
@requires("admin")
def get_health_report() -> Response:
    """One page to read or to send by mail: accuracy, drift, new images, the last nights, what waits, alerts."""
    page = make_report(application_state.current_catalog(), application_state.current().settings)
    return Response(page, mimetype="text/html", headers={"Content-Security-Policy": _POLICY})
