"""Attempts at retraining, and what the gate said of each. Keyed by who asked, so that a step can run again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.models.training_failures import has_failed
from ml.catalog.tables import attempts, snapshots, verdicts
from ml.errors import CatalogError

_FORGOTTEN_AFTER = timedelta(days=1)  # what somebody gave up long ago is no news
_GIVEN_UP_AFTER = timedelta(hours=6)  # a training without a verdict, whose process may have died without a word


@dataclass(frozen=True)
class Attempt:
    """One retraining: what was asked, and how far it came."""

    id: int
    request_key: str
    reason: str
    parameters: dict[str, object]
    snapshot_id: int
    mlflow_run_id: str | None
    model_version: int | None
    finished_at: datetime | None


@dataclass(frozen=True)
class StandingAttempt:
    """An attempt that reached its verdict, or is under way, as the next night looks at it."""

    is_under_way: bool
    parameters: dict[str, object]
    pool_state: str
    cutoff: datetime


@dataclass(frozen=True)
class Retraining:
    """An attempt that reached its verdict. Args: seconds, from its start to the verdict."""

    decided_at: datetime
    seconds: float


@dataclass(frozen=True)
class StoredVerdict:
    """What the gate said, and of what. Figures are the task's main figure, shares between 0 and 1."""

    model_version: int
    champion_version: int | None
    evaluation_set_version: int
    decision: str
    reasons: list[str]
    warnings: list[str]
    challenger_figure: float
    champion_figure: float | None


_FIELDS = [attempts.c[name] for name in Attempt.__dataclass_fields__]
_VERDICT_FIELDS = [verdicts.c[name] for name in StoredVerdict.__dataclass_fields__]


def start_attempt(
    connection: sa.Connection, request_key: str, reason: str, parameters: Mapping[str, object], snapshot_id: int
) -> int:
    """Record a new attempt.

    Returns: its id.
    """
    attempt_id: int = connection.execute(
        sa.insert(attempts)
        .values(
            request_key=request_key,
            reason=reason,
            parameters=dict(parameters),
            snapshot_id=snapshot_id,
        )
        .returning(attempts.c.id)
    ).scalar_one()
    return attempt_id


def find_attempt(connection: sa.Connection, request_key: str) -> Attempt | None:
    """The attempt that a request already started, if any."""
    row = connection.execute(sa.select(*_FIELDS).where(attempts.c.request_key == request_key)).one_or_none()
    return None if row is None else Attempt(*row)


def load_attempt(connection: sa.Connection, attempt_id: int) -> Attempt:
    """One attempt.

    Raises: CatalogError, there is none with that id.
    """
    row = connection.execute(sa.select(*_FIELDS).where(attempts.c.id == attempt_id)).one_or_none()
    if row is None:
        raise CatalogError(f"Expected the id of a recorded attempt, got {attempt_id}.")
    return Attempt(*row)


def update_attempt(connection: sa.Connection, attempt_id: int, **values: object) -> None:
    """Note how far an attempt came."""
    connection.execute(sa.update(attempts).where(attempts.c.id == attempt_id).values(**values))


def note_approval_asked(connection: sa.Connection, attempt_id: int) -> None:
    """Record that somebody is asked now whether the attempt's version may go into production."""
    update_attempt(connection, attempt_id, approval_asked_at=sa.func.clock_timestamp())


def finish_attempt(connection: sa.Connection, attempt_id: int) -> None:
    """Note that an attempt is over; the first time counts."""
    connection.execute(
        sa.update(attempts)
        .where(attempts.c.id == attempt_id, attempts.c.finished_at.is_(None))
        .values(finished_at=sa.func.clock_timestamp())
    )


def last_standing_attempt(connection: sa.Connection) -> StandingAttempt | None:
    """The latest attempt with a verdict or under way.

    One that failed does not keep the next night from asking again; nor does one of which nothing was heard for long.
    """
    is_young = attempts.c.started_at > sa.func.clock_timestamp() - _GIVEN_UP_AFTER
    is_under_way = verdicts.c.attempt_id.is_(None)
    query = (
        sa.select(is_under_way, attempts.c.parameters, snapshots.c.pool_state, snapshots.c.cutoff)
        .select_from(attempts.join(snapshots).outerjoin(verdicts))
        .where(~is_under_way | (is_young & ~has_failed(attempts.c.request_key)))
        .order_by(attempts.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else StandingAttempt(*row)


def last_decided_cutoff(connection: sa.Connection) -> datetime | None:
    """The cutoff of the snapshot of the latest attempt with a verdict."""
    query = sa.select(snapshots.c.cutoff).select_from(attempts.join(snapshots).join(verdicts))
    found: datetime | None = connection.execute(query.order_by(attempts.c.id.desc()).limit(1)).scalar_one_or_none()
    return found


def last_retraining(connection: sa.Connection) -> Retraining | None:
    """The latest attempt with a verdict, and how long it took."""
    seconds = sa.func.extract("epoch", verdicts.c.decided_at - attempts.c.started_at)
    query = (
        sa.select(verdicts.c.decided_at, sa.cast(seconds, sa.Float))
        .join(attempts, attempts.c.id == verdicts.c.attempt_id)
        .order_by(attempts.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Retraining(*row)


def count_approvals_waiting(connection: sa.Connection) -> int:
    """Count the attempts that have waited for a person's approval for less than a day."""
    is_recent = attempts.c.approval_asked_at > sa.func.clock_timestamp() - _FORGOTTEN_AFTER
    query = (
        sa.select(sa.func.count())
        .select_from(attempts)
        .join(verdicts, verdicts.c.attempt_id == attempts.c.id)
        .where(verdicts.c.decision == "promote", attempts.c.finished_at.is_(None), is_recent)
    )
    found: int = connection.execute(query).scalar_one()
    return found


def overdue_requests(connection: sa.Connection, minutes: float) -> list[str]:
    """Request keys of the attempts of the last day that took longer than so many minutes and have no verdict yet.

    Attempts with a failed step are left out, and so are tunings: a search takes the time that its trials need.
    """
    age = sa.func.clock_timestamp() - attempts.c.started_at
    query = (
        sa.select(attempts.c.request_key)
        .outerjoin(verdicts, verdicts.c.attempt_id == attempts.c.id)
        .where(verdicts.c.attempt_id.is_(None), attempts.c.kind != "tune", ~has_failed(attempts.c.request_key))
        .where(age > timedelta(minutes=minutes), age < _FORGOTTEN_AFTER)
        .order_by(attempts.c.id)
    )
    return list(connection.scalars(query))


def save_verdict(connection: sa.Connection, attempt_id: int, verdict: StoredVerdict) -> None:
    """Keep what the gate said; the first word on an attempt stands."""
    values = {name: getattr(verdict, name) for name in StoredVerdict.__dataclass_fields__}
    connection.execute(insert(verdicts).values(attempt_id=attempt_id, **values).on_conflict_do_nothing())


def revise_verdict(connection: sa.Connection, attempt_id: int, verdict: StoredVerdict) -> None:
    """Replace what the gate said of an attempt, after it compared again."""
    values = {name: getattr(verdict, name) for name in StoredVerdict.__dataclass_fields__}
    connection.execute(sa.update(verdicts).where(verdicts.c.attempt_id == attempt_id).values(**values))


def find_verdict(connection: sa.Connection, attempt_id: int) -> StoredVerdict | None:
    """What the gate said of an attempt, if it came so far."""
    row = connection.execute(sa.select(*_VERDICT_FIELDS).where(verdicts.c.attempt_id == attempt_id)).one_or_none()
    return None if row is None else StoredVerdict(*row)


def verdicts_by_version(connection: sa.Connection) -> dict[int, StoredVerdict]:
    """The verdict on each model version that has one."""
    return {row.model_version: StoredVerdict(*row) for row in connection.execute(sa.select(*_VERDICT_FIELDS))}
