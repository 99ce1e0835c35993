"""What people are told of, in words, and what makes it one event. Pure: the outbox writes each event once."""

from typing import NamedTuple

from ml.catalog.logs.outbox import APPROVAL_KEY, FAILURE_KEY, Kind
from ml.catalog.models.journal import Move
from ml.errors import MycoflowError


class Notice(NamedTuple):
    """What `raise_alert` takes."""

    kind: Kind
    event_key: str
    title: str
    body: str


def below_floor(version: int, accuracy: float, floor: float, since: int) -> Notice:
    """The model in production is too often wrong.

    Args: since, the id of the first nightly check that found it so: one event until it recovers or another comes.
    """
    return Notice(
        "below_floor",
        f"below-floor:version {version}:since check {since}",
        f"Accuracy is below the floor: {accuracy:.1%}",
        f"Version {version}, in production, reaches {accuracy:.1%} on the evaluation set; the floor is {floor:.1%}. "
        "The nightly check asks for retraining where that was not tried with the same images.",
    )


def new_images(version: int, count: int, threshold: int) -> Notice:
    """Enough is new for a retraining."""
    return Notice(
        "new_images",
        f"new-images:version {version}",
        f"{count} new images",
        f"{count} images entered the pool since version {version} learned; the threshold is {threshold}.",
    )


def retraining_failed(dag_id: str, request_key: str, step: str, try_number: int, error: object) -> Notice:
    """A step of a training gave up. Cleared and failed again, it is another event.

    Only our own errors are quoted: the texts of others may hold what is not for everybody.

    Args: error, the exception where there is one; anything else means that the process died.
    """
    cause = "Its process died."
    if isinstance(error, BaseException):
        cause = str(error) if isinstance(error, MycoflowError) else f"{type(error).__name__}."
    return Notice(
        "retraining_failed",
        f"{failures_of(request_key)}{step}:try {try_number}",
        f"The step {step} of {dag_id} failed",
        f"{cause}\nRun {request_key}. Its log in Airflow says more; clear the task there to go on from this step.",
    )


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


def moved(move: Move) -> Notice:
    """The alias `production` went from one version to another."""
    key = f"move:{move.id}"
    why = f"Before: {_name(move.from_version)}. By {move.actor}: {move.reason}"
    if move.kind == "rollback":
        body = f"{why}\nAutomatic promotion is held until `mycoflow release`."
        return Notice("rolled_back", key, f"Rolled back to {_name(move.to_version)}", body)
    if move.kind == "external":
        body = f"{why}\nNo gate looked at it. `mycoflow rollback` brings the former version back."
        return Notice("moved_externally", key, f"Moved by hand in MLflow: {_name(move.to_version)}", body)
    return Notice("promoted", key, f"In production: {_name(move.to_version)}", why)


def _name(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
