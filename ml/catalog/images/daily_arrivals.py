"""Numbers of items that entered the pool, by day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import sqlalchemy as sa

from ml.catalog.tables import items


@dataclass(frozen=True)
class DayOfArrivals:
    """One day in UTC. `counts`: label origin -> items that entered the pool, without origins that have none."""

    day: date
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def arrivals_by_day(connection: sa.Connection, day_count: int) -> list[DayOfArrivals]:
    """Return the last days, oldest first, including today and days without arrivals.

    Args: day_count, at least 1.
    """
    today: date = connection.execute(sa.select(_day(sa.func.clock_timestamp()))).scalar_one()
    days = [today - timedelta(days=ago) for ago in reversed(range(day_count))]
    return [DayOfArrivals(day, counts) for day, counts in _count(connection, days).items()]


def _count(connection: sa.Connection, days: Sequence[date]) -> dict[date, dict[str, int]]:
    entered_on = _day(items.c.entered_pool_at)
    midnight = sa.func.timezone("UTC", sa.cast(days[0], sa.DateTime))
    query = (
        sa.select(entered_on, items.c.label_origin, sa.func.count())
        .where(items.c.entered_pool_at >= midnight)
        .group_by(entered_on, items.c.label_origin)
        .order_by(entered_on, items.c.label_origin)
    )
    counts: dict[date, dict[str, int]] = {day: {} for day in days}
    for day, origin, count in connection.execute(query):
        counts.setdefault(day, {})[origin] = count
    return counts


def _day(moment: sa.ColumnElement[object]) -> sa.ColumnElement[date]:
    return sa.cast(sa.func.timezone("UTC", moment), sa.Date)
