"""Maintenance mode, on and off."""

from flask import Response, jsonify
from flask_openapi3 import APIBlueprint, Tag
from pydantic import StrictBool

from ml.catalog.accounts.personal_data import actor_name
from webapi.access import maintenance_gate
from webapi.access.authentication import current_account, requires
from webapi.api.parameters import Strict

api = APIBlueprint("maintenance", __name__, abp_tags=[Tag(name="supervision")])


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
    maintenance_gate.current().switch(body.on, actor_name(current_account()))
    return jsonify(on=body.on)
