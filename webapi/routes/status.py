"""Is it there, and can it do its work?"""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from webapi import service
from webapi.problems import unavailable

blueprint = Blueprint("status", __name__)


@blueprint.get("/status")
def get_status() -> ResponseReturnValue:
    """`true`: the service answers."""
    return jsonify(True)


@blueprint.get("/dbconnex")
def get_database_connection() -> ResponseReturnValue:
    """`true` or `false`: the database answers."""
    return jsonify(service.current().database.is_reachable())


@blueprint.get("/healthz")
def get_health() -> ResponseReturnValue:
    """For a supervisor: the process is alive; restarting it would not help."""
    return jsonify(status="alive")


@blueprint.get("/readyz")
def get_readiness() -> ResponseReturnValue:
    """For a load balancer: a prediction would work.

    Raises: 503, no model yet or no database.
    """
    model = service.current().models.current
    if model is None:
        raise unavailable("no-model", "No model version is loaded yet.")
    if not service.current().database.is_reachable():
        raise unavailable("database-unavailable", "The database does not answer.")
    return jsonify(status="ready", model_version=model.version)
