"""One shape for every error of the API: RFC 9457 problem details.

    {"type": "urn:mycoflow:problem:not-an-image", "title": ..., "status": 415, "detail": ..., "request_id": ...}

Source: RFC 9457.
"""

from http import HTTPStatus

from flask import Blueprint, Flask, json
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from webapi.problems import note_problem
from webapi.request_ids import current_request_id

_MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """The body of every error (RFC 9457)."""

    type: str = Field(description="urn:mycoflow:problem: and what kind it is")
    title: str
    status: int
    detail: str = Field(description="What was expected, what came, what to do")
    request_id: str | None = Field(description="Finds the request in the logs")


def new_api(name: str, import_name: str, tag: str) -> APIBlueprint:
    """A blueprint of the API, which answers its own errors as problems. Args: tag, where the document lists it."""
    api = APIBlueprint(name, import_name, abp_tags=[Tag(name=tag)])
    answer_errors_of(api)
    return api


def answer_errors_of(blueprint: Blueprint) -> None:
    """Answer as problems the errors that occur in a blueprint."""
    blueprint.register_error_handler(Exception, _answer)


def init_app(app: Flask) -> None:
    """Answer as problems also unknown paths and wrong methods, which belong to no blueprint: the API is at the root."""
    app.register_error_handler(HTTPException, _answer)


def _answer(error: Exception) -> Response:
    if isinstance(error, HTTPException) and (error.code or 500) < HTTPStatus.BAD_REQUEST:  # such as a redirection
        return Response.force_type(error.get_response())
    problem = note_problem(error)
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
