"""What each error is in HTTP's terms. The blueprint that an error occurs in renders it: the API's as JSON."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import NoReturn

from flask import g
from flask_limiter import RateLimitExceeded
from limits import RateLimitItem
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from ml.errors import (
    BusyError,
    CursorError,
    DatabaseUnavailableError,
    EvaluationSetError,
    EventError,
    FeedbackError,
    ForbiddenError,
    ImageChangeError,
    ImageStoreError,
    InvalidImageError,
    LabelError,
    ModelLoadError,
    MycoflowError,
    NoChampionError,
    NoPredictionsError,
    PromotionError,
    RegistryUnavailableError,
    SchemaVersionError,
    ScoringUnfinishedError,
    StaleChampionError,
    TargetFailedError,
    TargetMissingError,
    TargetRefusedError,
    TargetTooLargeError,
    TargetTooSlowError,
    UnknownImageError,
    UnknownPredictionError,
    UnknownVersionError,
)

_RETRY_AFTER_SECONDS = 5
_TOO_LARGE_REASONS = frozenset({"too_large", "too_many_pixels"})
# What these errors themselves say is for the logs: it names addresses.
_OUTAGES: dict[type[MycoflowError], tuple[str, str]] = {
    DatabaseUnavailableError: ("database-unavailable", "The database does not answer. Try again later."),
    SchemaVersionError: ("database-unavailable", "The database does not answer. Try again later."),
    ImageStoreError: ("image-store-unavailable", "An image cannot be stored or read. Try again later."),
}
# These say to whoever asked why not now.
_LATER: dict[type[MycoflowError], str] = {
    BusyError: "busy",
    NoChampionError: "no-model",
    RegistryUnavailableError: "registry-unavailable",  # only admins' routes raise it
    ScoringUnfinishedError: "scoring-unfinished",
}
_REFUSALS: dict[type[MycoflowError], tuple[int, str]] = {
    TargetRefusedError: (400, "target-refused"),
    ForbiddenError: (403, "forbidden"),
    NoPredictionsError: (404, "no-predictions"),
    TargetMissingError: (404, "target-missing"),
    UnknownImageError: (404, "unknown-image"),
    UnknownPredictionError: (404, "unknown-prediction"),
    UnknownVersionError: (404, "unknown-version"),
    EvaluationSetError: (409, "no-evaluation-set"),
    ImageChangeError: (409, "image-change"),
    ModelLoadError: (409, "model-does-not-load"),
    StaleChampionError: (409, "stale-champion"),
    PromotionError: (409, "promotion"),
    TargetTooLargeError: (413, "too-large"),
    CursorError: (422, "invalid-request"),
    EventError: (422, "invalid-request"),
    FeedbackError: (422, "invalid-request"),
    LabelError: (422, "invalid-request"),
    TargetFailedError: (502, "target-failed"),
    TargetTooSlowError: (504, "target-too-slow"),
}
_logger = logging.getLogger(__name__)


class ProblemError(Exception):
    """An answer that is not the one that was asked for.

    Args:
        status: HTTP status.
        slug: what kind of problem, for programs and metrics.
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
        retry = [] if retry_after_seconds is None else [("Retry-After", str(retry_after_seconds))]
        self.headers = [*headers, *retry]


def unavailable(slug: str, detail: str) -> ProblemError:
    """A 503 that says when to come back."""
    return ProblemError(503, slug, detail, _RETRY_AFTER_SECONDS)


def too_many_requests(rate: RateLimitItem) -> ProblemError:
    """A 429 that says when to come back."""
    detail = f"Expected at most {rate}, got more. Wait, then try again."
    return ProblemError(429, "too-many-requests", detail, rate.get_expiry())  # by then the window is over


def refuse_invalid(error: ValidationError) -> NoReturn:
    """Turn what a request's model says of its parameters into a problem. Values that came are not repeated.

    Raises: ProblemError, 422, always.
    """
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    raise ProblemError(422, "invalid-request", "; ".join(f"{_name(fault['loc'])}: {fault['msg']}" for fault in faults))


def note_problem(error: Exception) -> ProblemError:
    """What an error of the request in progress is, for whoever renders it. It is logged where it is ours."""
    problem = _problem_of(error)
    g.problem = problem.slug
    return problem


def current_problem() -> str | None:
    """What kind of problem the request in progress is answered with; None where it is answered well."""
    slug: str | None = g.get("problem")
    return slug


def _problem_of(error: Exception) -> ProblemError:
    match error:
        case ProblemError():
            return error
        case RateLimitExceeded():
            return too_many_requests(error.limit.limit)
        case HTTPException():
            return _of_http(error)
        case MycoflowError():
            problem = _of_mycoflow(error)
            if problem is not None:
                if problem.status >= 500:
                    _logger.error("%s", error)
                return problem
    _logger.error("Unexpected error", exc_info=error)
    detail = "Something went wrong here. The request id finds it in the logs."
    return ProblemError(500, "internal-server-error", detail)


def _of_http(error: HTTPException) -> ProblemError:
    """With its own headers, such as Allow."""
    status = error.code or 500
    phrase = HTTPStatus(status).phrase
    headers = [(name, value) for name, value in error.get_headers() if name.lower() != "content-type"]
    return ProblemError(status, phrase.lower().replace(" ", "-"), error.description or phrase, headers=headers)


def _of_mycoflow(error: MycoflowError) -> ProblemError | None:
    kind = type(error)
    if isinstance(error, InvalidImageError):
        status = 413 if error.reason in _TOO_LARGE_REASONS else 415
        return ProblemError(status, error.reason.replace("_", "-"), str(error))
    if kind in _OUTAGES:
        return unavailable(*_OUTAGES[kind])
    if kind in _LATER:
        return unavailable(_LATER[kind], str(error))
    if kind in _REFUSALS:
        return ProblemError(*_REFUSALS[kind], str(error))
    return None


def _name(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "body"
