"""The journal of promotions: who moved the champion alias, when, from and to which version, and why. Append-only."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ml.catalog.tables import promotions

_MOVE = (
    promotions.c.id,
    promotions.c.kind,
    promotions.c.from_version,
    promotions.c.to_version,
    promotions.c.completed_at.is_not(None),
    promotions.c.actor,
    promotions.c.reason,
    sa.func.coalesce(promotions.c.completed_at, promotions.c.intended_at),
)


@dataclass(frozen=True)
class Move:
    """One row of the journal.

    Args:
        kind: promotion, rollback, external, or release, which does not move the alias.
        moved_at: time of completion, or of the intent while the move is not completed.
    """

    id: int
    kind: str
    from_version: int | None
    to_version: int | None
    is_completed: bool
    actor: str
    reason: str
    moved_at: datetime


def write_intent(
    connection: sa.Connection, kind: str, from_version: int | None, to_version: int | None, actor: str, reason: str
) -> int:
    """Record a move before it is made.

    Returns: the row's id, for complete_move.
    """
    move_id: int = connection.execute(
        sa.insert(promotions)
        .values(kind=kind, from_version=from_version, to_version=to_version, actor=actor, reason=reason)
        .returning(promotions.c.id)
    ).scalar_one()
    return move_id


def complete_move(connection: sa.Connection, move_id: int) -> Move:
    """Record that a move was made."""
    completed = sa.update(promotions).where(promotions.c.id == move_id).values(completed_at=sa.func.clock_timestamp())
    return Move(*connection.execute(completed.returning(*_MOVE)).one())


def last_move(connection: sa.Connection, completed_only: bool = True) -> Move | None:
    """Return the latest move of the alias, or None. Releases are not moves."""
    query = sa.select(*_MOVE).where(promotions.c.kind != "release").order_by(promotions.c.id.desc()).limit(1)
    if completed_only:
        query = query.where(promotions.c.completed_at.is_not(None))
    row = connection.execute(query).one_or_none()
    return None if row is None else Move(*row)


def recent_moves(connection: sa.Connection, count: int) -> list[Move]:
    """Return the latest completed rows, releases included, newest first."""
    query = (
        sa.select(*_MOVE).where(promotions.c.completed_at.is_not(None)).order_by(promotions.c.id.desc()).limit(count)
    )
    return [Move(*row) for row in connection.execute(query)]


def version_before(connection: sa.Connection, version: int) -> int | None:
    """Return the version that was in production before this version's latest promotion, or None."""
    query = (
        sa.select(promotions.c.from_version)
        .where(promotions.c.to_version == version, promotions.c.completed_at.is_not(None))
        .where(promotions.c.kind.in_(("promotion", "external")))
        .order_by(promotions.c.id.desc())
        .limit(1)
    )
    before: int | None = connection.execute(query).scalar_one_or_none()
    return before


def versions_ever_in_production(connection: sa.Connection) -> list[int]:
    """Return all versions that were ever in production according to the journal, in order."""
    moved = promotions.c.to_version.is_not(None) & promotions.c.completed_at.is_not(None)
    query = sa.select(promotions.c.to_version).where(moved, promotions.c.kind != "release").distinct()
    return sorted(version for version in connection.scalars(query) if version is not None)


def is_held(connection: sa.Connection) -> bool:
    """Return whether automatic promotion is held: no release followed the last rollback."""
    query = (
        sa.select(promotions.c.kind)
        .where(promotions.c.kind.in_(("rollback", "release")), promotions.c.completed_at.is_not(None))
        .order_by(promotions.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none() == "rollback"
