"""Notices about trainings: their texts and their event keys. The outbox sends one alert per event key."""

import sqlalchemy as sa

from ml.catalog.logs.outbox import Notice, raise_alert
from ml.catalog.models import attempts
from ml.errors import MycoflowError


def notify_overdue(connection: sa.Connection, budget_minutes: float) -> None:
    """Raise an alert for each training that should have a verdict by now, except those with a failed step."""
    for request_key in attempts.overdue_requests(connection, budget_minutes):
        raise_alert(connection, *retraining_overdue(request_key, budget_minutes))


def retraining_failed(dag_id: str, request_key: str, step: str, try_number: int, error: object) -> Notice:
    """Return the notice of a failed step. If the step is cleared and fails again, that is another event.

    Args: error, the exception, if there is one; any other value means that the process died.
    """
    return Notice(
        "retraining_failed",
        f"retraining-failed:{request_key}:{step}:try {try_number}",
        f"The step {step} of {dag_id} failed",
        f"{describe_cause(error)}\nRun {request_key}. Its log in Airflow says more; clear the task there to continue "
        "from this step.",
    )


def describe_cause(error: object) -> str:
    """Say why a task failed. Quote only Mycoflow's own errors: the texts of others may contain secrets.

    Args: error, as for `retraining_failed`.
    """
    if not isinstance(error, BaseException):
        return "Its process died."
    return str(error) if isinstance(error, MycoflowError) else f"{type(error).__name__}."


def retraining_overdue(request_key: str, budget_minutes: float) -> Notice:
    """Return the notice of a training that should have a verdict and has none yet."""
    return Notice(
        "retraining_overdue",
        f"retraining-overdue:{request_key}",
        f"A training takes longer than {budget_minutes:g} minutes",
        f"The training {request_key} began more than {budget_minutes:g} minutes ago and has no verdict yet. It is "
        "slow, or its process died: look at its run in Airflow, or continue it with the command's `--request-key`.",
    )


def promotion_waiting(attempt_id: int, version: int, champion: int | None, comparison: str) -> Notice:
    """Return the notice that a challenger waits for a person's approval.

    Args: comparison, of challenger and champion, in Markdown.
    """
    return Notice(
        "promotion_waiting",
        f"promotion-waiting:attempt {attempt_id}:champion {champion}",
        f"Version {version} waits for your approval",
        f"{comparison}\n\nAnswer in Airflow, under required actions.",
    )
