"""Status, health and readiness of the service."""

from flask import Response, jsonify
from pydantic import BaseModel, Field, RootModel

from webapi import application_state
from webapi.access.authentication import public
from webapi.api.problem_answers import Problem, new_api
from webapi.problems import unavailable

api = new_api("status", __name__, "general")


class IsTrue(RootModel[bool]):
    """`true` or `false`."""


class Health(BaseModel):
    """The process is alive."""

    status: str


class Readiness(BaseModel):
    """The service can make predictions."""

    status: str
    model_version: int = Field(description="The version that answers")
    production_version: int | None = Field(
        description="The version in production, as of the last poll of MLflow; null before the first poll"
    )


@api.get("/status", responses={200: IsTrue})
@public
def get_status() -> Response:
    """Return `true` when the service answers."""
    return jsonify(True)


@api.get("/dbconnex", responses={200: IsTrue, 429: Problem})
@public
def get_database_connection() -> Response:
    """Return whether the database answers."""
    return jsonify(application_state.current().database.is_reachable())


@api.get("/healthz", responses={200: Health})
@public
def get_health() -> Response:
    """Liveness probe: the process is alive, so a restart would not help."""
    return jsonify(status="alive")


@api.get("/readyz", responses={200: Readiness, 503: Problem})
@public
def get_readiness() -> Response:
    """Readiness probe for a load balancer: the service can make predictions.

    Raises: 503, there is no model yet, or no database. With MYCOFLOW_READINESS=production, also while the version in
        production does not load and an older version answers.
    """
    current = application_state.current()
    state = current.models.state
    if state.version is None:
        raise unavailable("no-model", "No model version is loaded yet.")
    if state.refused_version is not None and current.settings.readiness == "production":
        detail = (
            f"Version {state.refused_version} is in production, but does not load. Version {state.version} answers."
        )
        raise unavailable("not-in-production", detail)
    if not current.database.is_reachable():
        raise unavailable("database-unavailable", "The database does not answer.")
    return jsonify(status="ready", model_version=state.version, production_version=current.models.in_production)
