"""Events that clients report."""

from typing import Any

from flask import Response, jsonify, request
from pydantic import BaseModel, Field, field_validator

from ml.serving.client_events import record_client_event
from ml.serving.quotas import demand_event_quota
from webapi import application_state
from webapi.access.authentication import current_account, current_actor, requires
from webapi.api.parameters import Strict
from webapi.api.problem_answers import Problem, new_api

api = new_api("logs", __name__, "logs")

MAX_EVENT_BYTES = 16 * 1024
_MAX_DEPTH = 20


class EventBody(Strict):
    """An event of a client."""

    kind: str = Field(pattern=r"^[a-z][a-z0-9._-]{0,63}$", description="Kind of event")
    detail: dict[str, Any] = Field(description="Details, at most 20 levels deep; at most 16 KB with the kind")

    @field_validator("detail")
    @classmethod
    def _check_depth(cls, value: dict[str, Any]) -> dict[str, Any]:
        if _is_deeper(value, _MAX_DEPTH):
            raise ValueError(f"expected at most {_MAX_DEPTH} levels of lists and objects")
        return value


class EventAnswer(BaseModel):
    """The event's id."""

    id: int


@api.before_request
def _limit_size() -> None:
    request.max_content_length = MAX_EVENT_BYTES


@api.post("/logs/write", responses={201: EventAnswer, 413: Problem})
@requires("user")
def write_log(body: EventBody) -> tuple[Response, int]:
    """Add an event of the caller to the audit log. Its kind gets the prefix `client:`."""
    catalog = application_state.current_catalog()
    demand_event_quota(catalog, application_state.current().settings, current_account().id)
    event_id = record_client_event(catalog, body.kind, current_actor(), body.detail)
    return jsonify(id=event_id), 201


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in children)
