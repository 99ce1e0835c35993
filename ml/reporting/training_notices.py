"""What people are told of a training, in words, and what makes it one event."""

import sqlalchemy as sa

from ml.catalog.logs.outbox import APPROVAL_KEY, FAILURE_KEY, Notice, raise_alert, was_raised
from ml.catalog.models import attempts
from ml.errors import MycoflowError


def tell_of_overdue(connection: sa.Connection, budget_minutes: float) -> None:
    """Tell of trainings that should have a verdict by now; not of those that are known to have failed."""
    for request_key in attempts.overdue_requests(connection, budget_minutes):
        if not was_raised(connection, failures_of(request_key)):
            raise_alert(connection, *retraining_overdue(request_key, budget_minutes))


def retraining_failed(dag_id: str, request_key: str, step: str, try_number: int, error: object) -> Notice:
    """A step of a training gave up. Cleared and failed again, it is another event.

    Args: error, the exception where there is one; anything else means that the process died.
    """
    return Notice(
        "retraining_failed",
        f"{failures_of(request_key)}{step}:try {try_number}",
        f"The step {step} of {dag_id} failed",
        f"{describe_cause(error)}\nRun {request_key}. Its log in Airflow says more; clear the task there to go on from "
        "this step.",
    )


def describe_cause(error: object) -> str:
    """Say why a task failed. Only our own errors are quoted: the texts of others may hold what is not for everybody.

    Args: error, as retraining_failed has it.
    """
    if not isinstance(error, BaseException):
        return "Its process died."
    return str(error) if isinstance(error, MycoflowError) else f"{type(error).__name__}."


def failures_of(request_key: str) -> str:
    """How the event keys of a training's failures begin."""
    return f"{FAILURE_KEY}{request_key}:"


def retraining_overdue(request_key: str, budget_minutes: float) -> Notice:
    """A training has no verdict yet and should have one."""
    return Notice(
        "retraining_overdue",
        f"retraining-overdue:{request_key}",
        f"A training takes longer than {budget_minutes:g} minutes",
        f"The training {request_key} began more than {budget_minutes:g} minutes ago and has no verdict yet. It is "
        "slow, or its process died: see its run in Airflow, or give the command `--request-key` to go on.",
    )


def promotion_waiting(attempt_id: int, version: int, champion: int | None, comparison: str) -> Notice:
    """A person is asked.

    Args: comparison, what the decision is about, in Markdown.
    """
    return Notice(
        "promotion_waiting",
        f"{APPROVAL_KEY}{attempt_id}:champion {champion}",
        f"Version {version} waits for your approval",
        f"{comparison}\n\nAnswer in Airflow, under required actions.",
    )
