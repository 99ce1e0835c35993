"""Maintenance mode, on and off."""

from flask import Response, jsonify
from pydantic import StrictBool

from webapi.access import maintenance_gate
from webapi.access.authentication import current_actor, requires
from webapi.api.parameters import Strict
from webapi.api.problem_answers import new_api

api = new_api("maintenance", __name__, "supervision")


class MaintenanceState(Strict):
    """Whether predictions are refused, by all replicas."""

    on: StrictBool


@api.get("/maintenance", responses={200: MaintenanceState})
@requires("admin")
def get_maintenance() -> Response:
    """Whether predictions are refused."""
    return jsonify(on=maintenance_gate.current().is_on())


@api.put("/maintenance", responses={200: MaintenanceState})
@requires("admin")
def put_maintenance(body: MaintenanceState) -> Response:
    """Refuse predictions, or answer them again. Supervision goes on; other replicas follow within a second or two."""
    maintenance_gate.current().switch(body.on, current_actor())
    return jsonify(on=body.on)
