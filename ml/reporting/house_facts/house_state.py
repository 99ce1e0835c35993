"""Read the latest alerts, the last backup, and what the last check for copies found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ml.catalog.clock import now
from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import Alert, latest_alerts
from ml.catalog.tables import accounts, evaluations, events, items
from ml.reporting.message_links import guide_page, runs_page
from ml.settings import Settings

_MOST_COPIES = 12
OLD = timedelta(days=7)
_OF_RUNS = frozenset({"retraining_failed", "task_failed", "retraining_overdue"})


@dataclass(frozen=True)
class ShownAlert:
    """An alert, with links. Args: guide, what to do; runs, Airflow's runs; None if they do not help or are not set."""

    alert: Alert
    guide: str | None
    runs: str | None


@dataclass(frozen=True)
class Backup:
    """The last backup. Args: age, since then; is_old, it is older than a week."""

    made_at: datetime
    folder: str
    file_count: int
    age: timedelta

    @property
    def is_old(self) -> bool:
        """Return whether it is older than a week."""
        return self.age > OLD


@dataclass(frozen=True)
class CopyCheck:
    """What the last check found: photos that left the pool then, and evaluations that are marked in all."""

    checked_at: datetime
    withdrawn: int


@dataclass(frozen=True)
class Copy:
    """A photo that is out of the pool, because the evaluation set has a copy of it: hashes of both photos."""

    image_sha256: str
    original_sha256: str | None


@dataclass(frozen=True)
class MarkedEvaluation:
    """An evaluation that is too high: its version was trained on copies of photos that it was measured with."""

    model_version: int
    part: str
    evaluated_at: datetime
    learned_copies: int


@dataclass(frozen=True)
class House:
    """The state of the house.

    Args: check, None if there was none yet; copies, the latest ones; copy_count, all of them.
    """

    alerts: Sequence[ShownAlert]
    backup: Backup | None
    check: CopyCheck | None
    copy_count: int
    copies: Sequence[Copy]
    marked: Sequence[MarkedEvaluation]
    account_count: int


def read_house(catalog: Catalog, settings: Settings, alert_count: int) -> House:
    """Read the state of the house.

    Args: alert_count, alerts at most, newest first.
    Raises: DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        at = now(connection)
        alerts = latest_alerts(connection, alert_count)
        made, checked = (_latest_event(connection, kind) for kind in ("backup.made", "check.finished"))
        is_copy = items.c.held_back == "copy"
        copy_count = connection.execute(sa.select(sa.func.count()).select_from(items).where(is_copy)).scalar_one()
        copies = [Copy(*row) for row in connection.execute(_copies(is_copy))]
        marked = [MarkedEvaluation(*row) for row in connection.execute(_marked())]
        account_count = connection.execute(sa.select(sa.func.count()).select_from(accounts)).scalar_one()
    runs = runs_page(settings)
    shown = [
        ShownAlert(each, guide_page(each.kind, settings), runs if each.kind in _OF_RUNS else None) for each in alerts
    ]
    backup = None
    if made is not None:
        detail = made.detail
        backup = Backup(made.happened_at, detail["folder"], detail["files"], at - made.happened_at)
    check = None if checked is None else CopyCheck(checked.happened_at, checked.detail["withdrawn"])
    return House(shown, backup, check, copy_count, copies, marked, account_count)


def _latest_event(connection: sa.Connection, kind: str) -> Any:
    query = sa.select(events.c.happened_at, events.c.detail).where(events.c.kind == kind)
    return connection.execute(query.order_by(events.c.id.desc()).limit(1)).one_or_none()


def _copies(is_copy: sa.ColumnElement[bool]) -> sa.Select[Any]:
    original = items.alias("original")
    joined = items.outerjoin(original, original.c.id == items.c.copy_of)
    has_photo = items.c.image_sha256.is_not(None)
    query = sa.select(items.c.image_sha256, original.c.image_sha256).select_from(joined).where(is_copy, has_photo)
    return query.order_by(items.c.received_at.desc(), items.c.id).limit(_MOST_COPIES)


def _marked() -> sa.Select[Any]:
    """Return the newest marked evaluation of each version and part."""
    columns = (
        evaluations.c.model_version,
        evaluations.c.part,
        evaluations.c.evaluated_at,
        evaluations.c.learned_copies,
    )
    latest = (evaluations.c.model_version, evaluations.c.part)
    query = sa.select(*columns).where(evaluations.c.learned_copies > 0).distinct(*latest)
    return query.order_by(evaluations.c.model_version.desc(), evaluations.c.part, evaluations.c.id.desc())
