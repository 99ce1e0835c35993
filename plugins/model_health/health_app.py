"""The app that Airflow mounts. Airflow does not authenticate a plugin's app, so each route checks its user."""

import logging

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from ml.catalog.database import open_catalog
from ml.errors import MycoflowError
from ml.reporting.report.page import make_report
from ml.settings import load_settings

logger = logging.getLogger(__name__)

# A user who may see the runs of the nightly check may see their results.
_MAY_SEE = Depends(requires_access_dag("GET", DagAccessEntity.RUN, "monitor_production"))
_PROBLEM = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Model health</title>
<h1>Model health</h1>
<p>The figures cannot be read now: <b>{kind}</b>. The log of Airflow's api-server has the reason. Reload this page
after the repair.</p>
</html>
"""


def create_app() -> FastAPI:
    """Build the app: one page. It has no API, so no API documentation."""
    app = FastAPI(title="Mycoflow", openapi_url=None)
    app.add_api_route("/health", show_health, response_class=HTMLResponse, dependencies=[_MAY_SEE])
    return app


def show_health() -> HTMLResponse:
    """Return the report, or an error page if the figures cannot be read.

    Only the log has the reason: it may name hosts and database roles, which not every viewer may see.
    """
    try:
        settings = load_settings()
        with open_catalog(settings) as catalog:
            page, status = make_report(catalog, settings, in_airflow=True), 200
    except MycoflowError as error:
        logger.warning("Model health cannot be read: %s", error)
        page, status = _PROBLEM.format(kind=type(error).__name__), 503
    return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})
