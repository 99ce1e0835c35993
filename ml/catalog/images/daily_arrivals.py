"""Numbers of items that entered the pool, by day."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ml.catalog.tables import item_classes, items

# Says which times of a column are read, and at which moment the day of a time began.
Period = Callable[[sa.ColumnElement[Any]], sa.ColumnElement[bool]]
StartOfDay = Callable[[sa.ColumnElement[Any]], sa.ColumnElement[datetime]]


@dataclass(frozen=True)
class DayOfArrivals:
    """One day in UTC. `counts`: label origin -> items that entered the pool, without origins that have none."""

    day: date
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def start_of_utc_day(moment: sa.ColumnElement[Any]) -> sa.ColumnElement[datetime]:
    """Return the moment at which a moment's day in UTC began."""
    return sa.func.date_trunc("day", moment, "UTC")


def entered_by_day(
    period: Period, start_of_day: StartOfDay = start_of_utc_day, class_name: str | None = None
) -> sa.Select[datetime, str | None, int]:
    """Return the query for the items that entered the pool: start of the day, label origin, number.

    Args: class_name, count only items that show this class; None for all items.
    """
    counted = items if class_name is None else item_classes
    day = start_of_day(counted.c.entered_pool_at).label("time")
    query = (
        sa.select(day, counted.c.label_origin.label("metric"), sa.func.count().label("value"))
        .where(period(counted.c.entered_pool_at))
        .group_by(day, counted.c.label_origin)
        .order_by(day, counted.c.label_origin)
    )
    return query if class_name is None else query.where(counted.c.class_name == class_name)


def arrivals_by_day(connection: sa.Connection, day_count: int) -> list[DayOfArrivals]:
    """Return the last days, oldest first, including today and days without arrivals.

    Args: day_count, at least 1.
    """
    now_in_utc = sa.func.timezone("UTC", sa.func.clock_timestamp())
    today: date = connection.execute(sa.select(sa.cast(now_in_utc, sa.Date))).scalar_one()
    days = [today - timedelta(days=ago) for ago in reversed(range(day_count))]
    return [DayOfArrivals(day, counts) for day, counts in _count(connection, days).items()]


def _count(connection: sa.Connection, days: Sequence[date]) -> dict[date, dict[str, int]]:
    midnight = sa.func.timezone("UTC", sa.cast(days[0], sa.DateTime))
    entered = entered_by_day(lambda moment: moment >= midnight).subquery()
    day = sa.cast(sa.func.timezone("UTC", entered.c.time), sa.Date)
    counts: dict[date, dict[str, int]] = {day: {} for day in days}
    for at, origin, count in connection.execute(sa.select(day, entered.c.metric, entered.c.value).order_by(day)):
        counts.setdefault(at, {})[origin] = count
    return counts
