"""What is wrong now: what the dashboard says on top. It judges as the report does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from ml.catalog.clock import now
from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import Alert, Kind, alerts_since
from ml.catalog.models.evaluations import Shortfall
from ml.catalog.tables import monitorings
from ml.confidence.estimation import Share, share_of
from ml.reporting.health import Health, read_health
from ml.reporting.message_links import airflow_address, guide_page, runs_page
from ml.reporting.report.signals import has_failed_training, misses_a_drift_check, misses_a_night
from ml.reporting.serving_notices import is_late
from ml.reporting.task_failures import find_log, split_failed_task
from ml.settings import Settings
from ml.tasks.registered_tasks import find_task

TroubleKind = Literal[
    "not_served",
    "task_failed",
    "training_failed",
    "no_night",
    "no_drift_check",
    "below_floor",
    "drift",
    "approval",
    "quarantine",
    "waiting",
    "held",
]
NIGHTLY_DAG = "monitor_production"
_IS_NEWS = timedelta(hours=26)  # the same failure raises one alert a day
_RUNBOOKS: dict[TroubleKind, Kind] = {
    "not_served": "not_served",
    "task_failed": "task_failed",
    "training_failed": "retraining_failed",
    "no_night": "task_failed",
    "no_drift_check": "task_failed",
    "below_floor": "below_floor",
    "approval": "promotion_waiting",
    "quarantine": "quarantine",
    "held": "rolled_back",
}


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong, or that waits for a person.

    Args:
        at: when it failed, or was last seen right; None if that is not known.
        count: how many approvals, batches or images wait.
        names: of what drifts; DAG and task that failed.
        shortfall: the figure below its floor.
        detail: an error message for an admin, in English.
        runs: address in Airflow of the runs, or of the failed task's log; None if they do not help, or the settings
            name no Airflow.
        guide: address of what to do; None if the settings name no guide.
    """

    kind: TroubleKind
    version: int | None = None
    at: datetime | None = None
    count: int = 0
    names: Sequence[str] = ()
    shortfall: Shortfall | None = None
    detail: str = ""
    runs: str | None = None
    guide: str | None = None


@dataclass(frozen=True)
class State:
    """The deployment now.

    Args:
        at: the time of reading.
        accuracy: the main figure of the version in production, with its 95 % interval if it is a share of images.
        troubles: the most urgent first.
        first_check: time of the first nightly check.
    """

    at: datetime
    health: Health
    accuracy: Share | None
    troubles: Sequence[Trouble]
    first_check: datetime | None


def read_state(catalog: Catalog, settings: Settings) -> State:
    """Read what is wrong now.

    Raises: DatabaseUnavailableError, TimeOverError.
    """
    with catalog.begin() as connection:
        at, health = now(connection), read_health(connection, settings)
        failures = alerts_since(connection, "task_failed", at - _IS_NEWS)
        first_check = connection.execute(sa.select(sa.func.min(monitorings.c.monitored_at))).scalar_one()
    troubles = [
        each if each.kind not in _RUNBOOKS else replace(each, guide=guide_page(_RUNBOOKS[each.kind], settings))
        for each in find_troubles(health, at, failures, settings)
    ]
    part, has_interval = health.deciding, find_task(settings.task).counts_right_answers
    accuracy = None
    if part is not None and part.image_count and has_interval:
        accuracy = share_of(round(part.main_figure * part.image_count), part.image_count)
    return State(at, health, accuracy, troubles, first_check)


def find_troubles(health: Health, at: datetime, failures: Sequence[Alert], settings: Settings) -> Iterator[Trouble]:
    """Find what is wrong, the most urgent first.

    Args: failures, the alerts of failed tasks of the last day, newest first.
    """
    runs = runs_page(settings)
    if is_late(health, at):
        errors = {each.load_error for each in health.serving if each.refused_version == health.champion}
        detail = " ".join(sorted(filter(None, errors)))
        yield Trouble("not_served", version=health.champion, detail=detail)
    yield from _failed_tasks(health, failures, settings)
    if has_failed_training(health):
        yield Trouble("training_failed", at=health.retraining_failed_at, runs=runs)
    if misses_a_night(health, at):
        yield Trouble("no_night", at=health.monitored_at, runs=runs)
    elif misses_a_drift_check(health, at):
        yield Trouble("no_drift_check", at=health.drift_checked_at, runs=runs)
    for shortfall in () if health.deciding is None else health.deciding.shortfalls:
        yield Trouble("below_floor", version=health.champion, shortfall=shortfall)
    if health.drift is not None and health.drift.moved:
        yield Trouble("drift", names=health.drift.moved)
    yield from _waiting(health)


def _failed_tasks(health: Health, failures: Sequence[Alert], settings: Settings) -> Iterator[Trouble]:
    """Find the failed tasks that were not followed by a nightly check that succeeded. Each counts once."""
    seen = set()
    for alert in failures:
        names = split_failed_task(alert.event_key)
        is_over = names[0] == NIGHTLY_DAG and health.monitored_at is not None and health.monitored_at > alert.raised_at
        if not is_over and names not in seen:
            seen.add(names)
            runs = find_log(alert.body, airflow_address(settings)) or runs_page(settings)
            yield Trouble("task_failed", at=alert.raised_at, names=names, detail=alert.body, runs=runs)


def _waiting(health: Health) -> Iterator[Trouble]:
    if health.approvals_waiting:
        yield Trouble("approval", count=health.approvals_waiting)
    if health.quarantined_batches:
        yield Trouble("quarantine", count=health.quarantined_batches)
    if health.waiting_images:
        yield Trouble("waiting", count=health.waiting_images)
    if health.is_promotion_held:
        yield Trouble("held")
