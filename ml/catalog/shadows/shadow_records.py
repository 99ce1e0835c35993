"""Challengers in shadow: with which champion each is compared, since when, and whether the last scoring failed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.locks import lock_membership
from ml.catalog.shadows.shadow_sample import list_sample, refresh_queue
from ml.catalog.tables import attempts, shadow_answers, shadows


@dataclass(frozen=True)
class Shadow:
    """A challenger in shadow.

    Args:
        champion_version: the version that it is compared with.
        scored_at: end of the last scoring; None before the first one.
        problem: why the last scoring failed; None if it did not.
    """

    challenger_version: int
    champion_version: int
    started_at: datetime
    scored_at: datetime | None
    problem: str | None


def begin_shadow(connection: sa.Connection, challenger: int, champion: int) -> Shadow:
    """Record that a challenger is compared with a champion. Compared with another champion, it begins anew.

    Returns: the shadow. Its `started_at` is of the first call.
    """
    lock_membership(connection, "pool")  # as every change of the queues
    row = insert(shadows).values(challenger_version=challenger, champion_version=champion).on_conflict_do_nothing()
    connection.execute(row)
    is_it = shadows.c.challenger_version == challenger
    another = sa.update(shadows).where(is_it, shadows.c.champion_version != champion)
    if connection.execute(another.values(champion_version=champion, scored_at=None)).rowcount:
        former = list_sample(connection, shadow_answers.c.challenger_version == challenger)
        connection.execute(sa.delete(shadow_answers).where(shadow_answers.c.challenger_version == challenger))
        refresh_queue(connection, former)
    return Shadow(*connection.execute(sa.select(*shadows.c).where(is_it)).one())


def find_shadow(connection: sa.Connection, challenger: int) -> Shadow | None:
    """Return the shadow of a challenger; None if it was never compared on uploads."""
    query = sa.select(*shadows.c).where(shadows.c.challenger_version == challenger)
    row = connection.execute(query).one_or_none()
    return None if row is None else Shadow(*row)


def has_been_in_shadow(connection: sa.Connection, challenger: int, hours: float) -> bool:
    """Return whether so many hours have passed, by the database's clock, since the shadow began.

    A challenger that was not compared, because the version in production is of no use, need not wait.
    """
    until = shadows.c.started_at + timedelta(hours=hours)
    query = sa.select(until <= sa.func.clock_timestamp()).where(shadows.c.challenger_version == challenger)
    return connection.execute(query).scalar_one_or_none() is not False


def end_scoring(connection: sa.Connection, challenger: int, problem: str | None) -> None:
    """Record the end of a scoring. Args: problem, why it failed; None if it did not."""
    ended = {} if problem is not None else {"scored_at": sa.func.clock_timestamp()}
    change = sa.update(shadows).where(shadows.c.challenger_version == challenger)
    connection.execute(change.values(problem=problem, **ended))


def count_old_answers(connection: sa.Connection, days: int) -> int:
    """Count the answers of challengers that stopped waiting for their decision more than some days ago."""
    query = sa.select(sa.func.count()).select_from(shadow_answers.join(shadows)).where(_is_old(days))
    count: int = connection.execute(query).scalar_one()
    return count


def forget_old_shadows(connection: sa.Connection, days: int) -> int:
    """Delete the shadows of these challengers, and return the number of answers that went along."""
    lock_membership(connection, "pool")
    count = count_old_answers(connection, days)
    old = sa.select(shadows.c.challenger_version).where(_is_old(days))
    former = list_sample(connection, shadow_answers.c.challenger_version.in_(old))
    connection.execute(sa.delete(shadows).where(_is_old(days)))
    refresh_queue(connection, former)
    return count


def _is_old(days: int) -> sa.ColumnElement[bool]:
    """Return the SQL condition for challengers whose decision was made before some days.

    A training ends with its decision. A challenger that waits is scored again within hours: one that was not, because
    its training was given up or it has none, has waited until its last scoring.
    """
    decided = sa.select(attempts.c.finished_at).where(attempts.c.model_version == shadows.c.challenger_version)
    waited_until = sa.func.coalesce(decided.scalar_subquery(), shadows.c.scored_at, shadows.c.started_at)
    return waited_until < sa.func.now() - timedelta(days=days)
