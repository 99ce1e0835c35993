"""Every error of the API has the same form: RFC 9457 problem details.

    {"type": "urn:mycoflow:problem:not-an-image", "title": ..., "status": 415, "detail": ..., "request_id": ...}

Source: RFC 9457.
"""

from http import HTTPStatus

from flask import Blueprint, json
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from webapi.problems import record_problem
from webapi.request_ids import current_request_id

_MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """The body of every error (RFC 9457)."""

    type: str = Field(description="urn:mycoflow:problem: and the kind of problem")
    title: str
    status: int
    detail: str = Field(description="What was expected, what was received, and what to do")
    request_id: str | None = Field(description="Id of the request in the logs")


def new_api(name: str, import_name: str, tag: str) -> APIBlueprint:
    """Create a blueprint of the API that answers its errors as problems. Args: tag, its tag in the OpenAPI document."""
    api = APIBlueprint(name, import_name, abp_tags=[Tag(name=tag)])
    answer_errors_of(api)
    return api


def answer_errors_of(blueprint: Blueprint) -> None:
    """Answer the errors of a blueprint as problems."""
    blueprint.register_error_handler(Exception, answer_problem)


def answer_problem(error: Exception) -> Response:
    """Answer an error as a problem."""
    if isinstance(error, HTTPException) and (error.code or 500) < HTTPStatus.BAD_REQUEST:  # for example a redirect
        return Response.force_type(error.get_response())
    problem = record_problem(error)
    body = {
        "type": f"urn:mycoflow:problem:{problem.slug}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "request_id": current_request_id(),
    }
    response = Response(json.dumps(body, sort_keys=False) + "\n", problem.status, mimetype=_MEDIA_TYPE)
    response.headers.extend(problem.headers)
    return response
