"""One shape for every error: RFC 9457 problem details.

    {"type": "urn:mycoflow:problem:not-an-image", "title": ..., "status": 415, "detail": ..., "request_id": ...}

Source: RFC 9457.
"""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import NoReturn

from flask import Flask, g, json
from pydantic import BaseModel, Field, ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from ml.errors import (
    CursorError,
    DatabaseUnavailableError,
    EvaluationSetError,
    FetchError,
    ImageChangeError,
    ImageStoreError,
    InvalidImageError,
    ModelLoadError,
    MycoflowError,
    NoChampionError,
    PromotionError,
    RegistryUnavailableError,
    SchemaVersionError,
    StaleChampionError,
    TargetFailedError,
    TargetMissingError,
    TargetRefusedError,
    TargetTooLargeError,
    TargetTooSlowError,
    UnknownImageError,
    UnknownVersionError,
)
from webapi.request_ids import current_request_id

_MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_SECONDS = 5
_TOO_LARGE_REASONS = frozenset({"too_large", "too_many_pixels"})
_FETCH_PROBLEMS: dict[type[FetchError], tuple[int, str]] = {
    TargetRefusedError: (400, "target-refused"),
    TargetMissingError: (404, "target-missing"),
    TargetTooLargeError: (413, "too-large"),
    TargetFailedError: (502, "target-failed"),
    TargetTooSlowError: (504, "target-too-slow"),
}
# What the errors themselves say is for the logs: it names addresses.
_OUTAGES: dict[type[MycoflowError], tuple[str, str]] = {
    DatabaseUnavailableError: ("database-unavailable", "The database does not answer. Try again later."),
    SchemaVersionError: ("database-unavailable", "The database does not answer. Try again later."),
    ImageStoreError: ("image-store-unavailable", "An image cannot be stored or read. Try again later."),
}
# What an admin asked for does not fit how things are.
_CONFLICTS: dict[type[MycoflowError], tuple[int, str]] = {
    UnknownImageError: (404, "unknown-image"),
    UnknownVersionError: (404, "unknown-version"),
    EvaluationSetError: (409, "no-evaluation-set"),
    ImageChangeError: (409, "image-change"),
    ModelLoadError: (409, "model-does-not-load"),
    StaleChampionError: (409, "stale-champion"),
    PromotionError: (409, "promotion"),
    CursorError: (422, "invalid-request"),
}
_logger = logging.getLogger(__name__)


class Problem(BaseModel):
    """The body of every error (RFC 9457)."""

    type: str = Field(description="urn:mycoflow:problem: and what kind it is")
    title: str
    status: int
    detail: str = Field(description="What was expected, what came, what to do")
    request_id: str | None = Field(description="Finds the request in the logs")


class ProblemError(Exception):
    """An answer that is not the one that was asked for.

    Args:
        status: HTTP status.
        slug: what kind of problem, for programs; the last part of `type`.
        detail: what was expected, what came, what to do, for people.
        retry_after_seconds: when it makes sense to ask again, if it does.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str,
        retry_after_seconds: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
        self.headers = headers


def unavailable(slug: str, detail: str) -> ProblemError:
    """A 503 that says when to come back."""
    return ProblemError(503, slug, detail, _RETRY_AFTER_SECONDS)


def refuse_invalid(error: ValidationError) -> NoReturn:
    """Turn what a request's model says of its parameters into a problem. Values that came are not repeated.

    Raises: ProblemError, 422, always.
    """
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    raise ProblemError(422, "invalid-request", "; ".join(f"{_name(fault['loc'])}: {fault['msg']}" for fault in faults))


def init_app(app: Flask) -> None:
    """Answer every error of the application as a problem."""
    app.register_error_handler(ProblemError, answer_problem)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(MycoflowError, _answer_mycoflow_error)
    app.register_error_handler(Exception, _answer_unexpected_error)


def answer_problem(problem: ProblemError) -> Response:
    """The answer that a problem is."""
    response = _response(problem.status, problem.slug, problem.detail)
    response.headers.extend(problem.headers)
    if problem.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(problem.retry_after_seconds)
    return response


def current_problem() -> str | None:
    """What kind of problem the request in progress is answered with; None where it is answered well."""
    slug: str | None = g.get("problem")
    return slug


def _answer_http_error(error: HTTPException) -> Response:
    response = Response.force_type(error.get_response())  # with its own headers, such as Allow
    if response.status_code >= 400:
        phrase = HTTPStatus(response.status_code).phrase
        body = _response(response.status_code, phrase.lower().replace(" ", "-"), error.description or phrase)
        response.data, response.mimetype = body.data, _MEDIA_TYPE
    return response


def _answer_mycoflow_error(error: MycoflowError) -> Response:
    problem = _problem_of(error)
    if problem is None:
        return _answer_unexpected_error(error)
    if problem.status >= 500:
        _logger.error("%s", error)
    return answer_problem(problem)


def _problem_of(error: MycoflowError) -> ProblemError | None:
    match error:
        case InvalidImageError():
            status = 413 if error.reason in _TOO_LARGE_REASONS else 415
            return ProblemError(status, error.reason.replace("_", "-"), str(error))
        case FetchError():
            return ProblemError(*_FETCH_PROBLEMS[type(error)], str(error))
        case NoChampionError() | RegistryUnavailableError():  # only admins' routes raise them
            slug = "no-model" if isinstance(error, NoChampionError) else "registry-unavailable"
            return unavailable(slug, str(error))
    if type(error) in _OUTAGES:
        return unavailable(*_OUTAGES[type(error)])
    if type(error) in _CONFLICTS:
        return ProblemError(*_CONFLICTS[type(error)], str(error))
    return None


def _answer_unexpected_error(error: Exception) -> Response:
    _logger.error("Unexpected error", exc_info=error)
    return _response(500, "internal-server-error", "Something went wrong here. The request id finds it in the logs.")


def _name(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "body"


def _response(status: int, slug: str, detail: str) -> Response:
    g.problem = slug
    body = {
        "type": f"urn:mycoflow:problem:{slug}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": current_request_id(),
    }
    return Response(json.dumps(body, sort_keys=False) + "\n", status, mimetype=_MEDIA_TYPE)
