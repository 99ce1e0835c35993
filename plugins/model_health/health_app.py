"""The app that Airflow mounts. Airflow does not authenticate a plugin's app, so each route checks its user."""

import logging

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

from ml.errors import MycoflowError
from ml.settings import load_settings
from model_health.health_page import render_health, render_problem

logger = logging.getLogger(__name__)

# A user who may see the runs of the nightly check may see their results.
_MAY_SEE = Depends(requires_access_dag("GET", DagAccessEntity.RUN, "monitor_production"))


def create_app() -> FastAPI:
    """Build the app: one page. It has no API, so no API documentation."""
    app = FastAPI(title="Mycoflow", openapi_url=None)
    app.add_api_route("/health", show_health, response_class=HTMLResponse, dependencies=[_MAY_SEE])
    return app


def show_health() -> HTMLResponse:
    """Return the page, or an error page if the figures cannot be read.

    Only the log has the reason: it may name hosts and database roles, which not every viewer may see.
    """
    try:
        page, status = render_health(load_settings()), 200
    except MycoflowError as error:
        logger.warning("Model health cannot be read: %s", error)
        page, status = render_problem(error), 503
    return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})
