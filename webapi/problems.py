"""Translate errors to HTTP. The blueprint in which an error occurs renders it; those of the API use JSON."""

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
    AccountBusyError,
    AccountError,
    AirflowError,
    AirflowUnavailableError,
    ArchiveError,
    BatchLimitError,
    BusyError,
    CursorError,
    DatabaseUnavailableError,
    ErasedAccountError,
    EvaluationSetError,
    EventError,
    FeedbackError,
    ForbiddenError,
    ImageChangeError,
    ImageStoreError,
    InvalidImageError,
    LabelError,
    LastAdminError,
    ModelLoadError,
    MycoflowError,
    NoActivationMapError,
    NoChampionError,
    NoPredictionsError,
    PromotionError,
    QuotaError,
    RegistryStateError,
    RegistryUnavailableError,
    ReviewConflictError,
    ReviewError,
    SchemaVersionError,
    ScoringUnfinishedError,
    StaleChampionError,
    TargetFailedError,
    TargetMissingError,
    TargetRefusedError,
    TargetTooLargeError,
    TargetTooSlowError,
    TimeOverError,
    UnknownAccountError,
    UnknownBatchError,
    UnknownImageError,
    UnknownPredictionError,
    UnknownVersionError,
)

_RETRY_AFTER_SECONDS = 5
_TOO_LARGE_REASONS = frozenset({"too_large", "too_many_pixels", "too_complex"})
_COUNT_REASONS = frozenset({"no-photos", "too-many-photos"})
# The messages of these errors are only for the logs, because they contain addresses.
_OUTAGES: dict[type[MycoflowError], tuple[str, str]] = {
    DatabaseUnavailableError: ("database-unavailable", "The database does not answer. Try again later."),
    SchemaVersionError: ("database-unavailable", "The database does not answer. Try again later."),
    ImageStoreError: ("image-store-unavailable", "An image cannot be stored or read. Try again later."),
}
# The messages of these errors tell the client why the request failed this time.
_LATER: dict[type[MycoflowError], str] = {
    AirflowError: "airflow-refused",  # only admins' routes raise the two
    AirflowUnavailableError: "airflow-unavailable",
    BusyError: "busy",
    NoChampionError: "no-model",
    RegistryUnavailableError: "registry-unavailable",  # only admins' routes raise it
    ScoringUnfinishedError: "scoring-unfinished",
    TimeOverError: "time-over",
}
_REFUSALS: dict[type[MycoflowError], tuple[int, str]] = {
    TargetRefusedError: (400, "target-refused"),
    ErasedAccountError: (403, "account-erased"),
    ForbiddenError: (403, "forbidden"),
    QuotaError: (403, "quota-exceeded"),
    NoPredictionsError: (404, "no-predictions"),
    TargetMissingError: (404, "target-missing"),
    UnknownAccountError: (404, "unknown-account"),
    UnknownBatchError: (404, "unknown-batch"),
    UnknownImageError: (404, "unknown-image"),
    UnknownPredictionError: (404, "unknown-prediction"),
    UnknownVersionError: (404, "unknown-version"),
    BatchLimitError: (409, "too-many-batches"),
    EvaluationSetError: (409, "no-evaluation-set"),
    ImageChangeError: (409, "image-change"),
    LastAdminError: (409, "last-admin"),
    ModelLoadError: (409, "model-does-not-load"),
    NoActivationMapError: (409, "no-activation-map"),
    ReviewConflictError: (409, "review-conflict"),
    StaleChampionError: (409, "stale-champion"),
    PromotionError: (409, "promotion"),
    RegistryStateError: (409, "registry-state"),
    TargetTooLargeError: (413, "too-large"),
    AccountError: (422, "invalid-request"),
    CursorError: (422, "invalid-request"),
    EventError: (422, "invalid-request"),
    FeedbackError: (422, "invalid-request"),
    LabelError: (422, "invalid-request"),
    ReviewError: (422, "invalid-request"),
    TargetFailedError: (502, "target-failed"),
    TargetTooSlowError: (504, "target-too-slow"),
}
_logger = logging.getLogger(__name__)


class ProblemError(Exception):
    """An error response.

    Args:
        status: HTTP status.
        slug: kind of problem, for programs and metrics.
        detail: what was expected, what was received and what to do, for people.
        retry_after_seconds: time after which a retry makes sense; None if none does.
        headers: further headers of the response.
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
    """Return a 503 with the time to wait before a retry."""
    return ProblemError(503, slug, detail, _RETRY_AFTER_SECONDS)


def too_many_requests(rate: RateLimitItem) -> ProblemError:
    """Return a 429 with the time to wait before a retry."""
    detail = f"Expected at most {rate}, got more. Wait, then try again."
    return ProblemError(429, "too-many-requests", detail, rate.get_expiry())  # then the window has ended


def refuse_invalid(error: ValidationError) -> NoReturn:
    """Turn the validation errors of a request into a problem. It does not repeat the received values.

    Raises: ProblemError, 422, always.
    """
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    raise ProblemError(422, "invalid-request", "; ".join(f"{_name(fault['loc'])}: {fault['msg']}" for fault in faults))


def record_problem(error: Exception) -> ProblemError:
    """Return the problem that renders an error of the current request. Record its kind; log the service's faults."""
    problem = _problem_of(error)
    g.problem = problem.slug
    return problem


def current_problem() -> str | None:
    """Return the kind of problem that the current request is answered with; None if there is no problem."""
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
    detail = "The service has a fault. Find the request in the logs by its id."
    return ProblemError(500, "internal-server-error", detail)


def _of_http(error: HTTPException) -> ProblemError:
    """Keep the error's own headers, such as Allow."""
    status = error.code or 500
    phrase = HTTPStatus(status).phrase
    headers = [(name, value) for name, value in error.get_headers() if name.lower() != "content-type"]
    return ProblemError(status, phrase.lower().replace(" ", "-"), error.description or phrase, headers=headers)


def _of_mycoflow(error: MycoflowError) -> ProblemError | None:
    kind = type(error)
    if isinstance(error, InvalidImageError | ArchiveError):
        return ProblemError(_status_of(error.reason), error.reason.replace("_", "-"), str(error))
    if kind in _OUTAGES:
        return unavailable(*_OUTAGES[kind])
    if kind is AccountBusyError:
        return ProblemError(429, "too-many-requests", str(error), _RETRY_AFTER_SECONDS)
    if kind in _LATER:
        return unavailable(_LATER[kind], str(error))
    if kind in _REFUSALS:
        return ProblemError(*_REFUSALS[kind], str(error))
    return None


def _status_of(reason: str) -> int:
    if reason in _TOO_LARGE_REASONS:
        return 413
    return 422 if reason in _COUNT_REASONS else 415


def _name(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "body"
