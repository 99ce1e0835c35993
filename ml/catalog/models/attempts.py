"""Attempts at training. Each has the key of its request, so that a step that runs again finds its attempt."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from ml.catalog.models.training_failures import has_failed
from ml.catalog.tables import attempts, snapshots, verdicts
from ml.errors import CatalogError

_FORGOTTEN_AFTER = timedelta(days=1)  # older attempts are no news
_GIVEN_UP_AFTER = timedelta(hours=6)  # a training without a verdict; its process may have died unnoticed


@dataclass(frozen=True)
class Attempt:
    """One training: its request, and the results of the steps that are done.

    Args: parameters, as ml.training.recipes encodes them; `decode_recipe` reads them.
    """

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
    """The facts that the next night needs of an attempt that has its verdict or is under way.

    Args: parameters, as in `Attempt`; pool_state and cutoff, of its snapshot.
    """

    is_under_way: bool
    parameters: dict[str, object]
    pool_state: str
    cutoff: datetime


@dataclass(frozen=True)
class Retraining:
    """An attempt that has its verdict. Args: seconds, from its start to the verdict."""

    decided_at: datetime
    seconds: float


_FIELDS = [attempts.c[name] for name in Attempt.__dataclass_fields__]


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
    """Return the attempt that a request started; None before that."""
    row = connection.execute(sa.select(*_FIELDS).where(attempts.c.request_key == request_key)).one_or_none()
    return None if row is None else Attempt(*row)


def find_attempt_of_version(connection: sa.Connection, version: int) -> Attempt | None:
    """Return the attempt that made a model version; None if it was trained elsewhere."""
    query = sa.select(*_FIELDS).where(attempts.c.model_version == version).order_by(attempts.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else Attempt(*row)


def load_attempt(connection: sa.Connection, attempt_id: int) -> Attempt:
    """Return one attempt.

    Raises: CatalogError, no attempt has that id.
    """
    row = connection.execute(sa.select(*_FIELDS).where(attempts.c.id == attempt_id)).one_or_none()
    if row is None:
        raise CatalogError(f"Expected the id of a recorded attempt, got {attempt_id}.")
    return Attempt(*row)


def update_attempt(connection: sa.Connection, attempt_id: int, **values: object) -> None:
    """Store the result of a step of an attempt."""
    connection.execute(sa.update(attempts).where(attempts.c.id == attempt_id).values(**values))


def note_approval_asked(connection: sa.Connection, attempt_id: int) -> None:
    """Record that somebody is asked now whether the attempt's version may go into production."""
    update_attempt(connection, attempt_id, approval_asked_at=sa.func.clock_timestamp())


def finish_attempt(connection: sa.Connection, attempt_id: int) -> None:
    """Record that an attempt is over. The first time counts."""
    connection.execute(
        sa.update(attempts)
        .where(attempts.c.id == attempt_id, attempts.c.finished_at.is_(None))
        .values(finished_at=sa.func.clock_timestamp())
    )


def last_standing_attempt(connection: sa.Connection) -> StandingAttempt | None:
    """Return the latest attempt that has a verdict or is under way.

    After a failed step, or without a verdict after six hours, an attempt is not under way: the next night may retrain.
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
    """Return the cutoff of the snapshot of the latest attempt with a verdict."""
    query = sa.select(snapshots.c.cutoff).select_from(attempts.join(snapshots).join(verdicts))
    found: datetime | None = connection.execute(query.order_by(attempts.c.id.desc()).limit(1)).scalar_one_or_none()
    return found


def last_retraining(connection: sa.Connection) -> Retraining | None:
    """Return the latest attempt with a verdict."""
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
    """Return the request keys of the last day's attempts that have no verdict after so many minutes.

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
