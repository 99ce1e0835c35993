"""Read and switch maintenance mode."""

from flask import Response, jsonify
from pydantic import StrictBool

from webapi.access import maintenance_gate
from webapi.access.authentication import current_actor, requires
from webapi.api.parameters import Strict
from webapi.api.problem_answers import new_api

api = new_api("maintenance", __name__, "supervision")


class MaintenanceState(Strict):
    """Whether all replicas refuse predictions."""

    on: StrictBool


@api.get("/maintenance", responses={200: MaintenanceState})
@requires("admin")
def get_maintenance() -> Response:
    """Return whether predictions are refused."""
    return jsonify(on=maintenance_gate.current().is_on())


@api.put("/maintenance", responses={200: MaintenanceState})
@requires("admin")
def put_maintenance(body: MaintenanceState) -> Response:
    """Refuse predictions, or answer them again. Other routes still work. Other replicas follow in a second or two."""
    maintenance_gate.current().switch(body.on, current_actor())
    return jsonify(on=body.on)
