"""The days that a reader looks at, in the reader's time zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import sqlalchemy as sa
from sqlalchemy.sql.elements import Grouping

UTC_ZONE = "UTC"
EARLIEST, LATEST = date(2000, 1, 1), date(2200, 1, 1)


@cache
def known_zones() -> frozenset[str]:
    """Return the names of all time zones."""
    return frozenset(name for name in available_timezones() if not name.startswith(("posix", "right", "local")))


@dataclass(frozen=True)
class Span:
    """Days, both ends included.

    Args: zone, the name of the time zone whose days are meant.
    """

    since: date
    until: date
    zone: str = UTC_ZONE

    def contains(self, moment: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        """Return the condition that a moment is in these days."""
        start, end = self.bounds
        return sa.and_(moment >= start, moment < end)

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """The first moment of these days, and the first one after them."""
        return _start_of(self.since, self.zone), _start_of(self.until + timedelta(days=1), self.zone)

    def start_of_day(self, moment: sa.ColumnElement[Any]) -> sa.ColumnElement[datetime]:
        """Return the moment at which the day of a moment in these days began.

        Python computes the days: PostgreSQL may lack the names of time zones that browsers use.
        """
        last = min(self.until, datetime.now(UTC).date() + timedelta(days=2))  # there are no figures of the future
        starts = _list_starts(self.since, last, self.zone)
        moments = sa.cast(sa.literal(starts, sa.Text), sa.ARRAY(sa.DateTime(timezone=True)))
        return Grouping(moments)[sa.func.width_bucket(moment, moments)]

    def day_of(self, moment: datetime) -> date:
        """Return the day of a moment."""
        return moment.astimezone(ZoneInfo(self.zone)).date()


@lru_cache(16)
def _list_starts(since: date, until: date, zone: str) -> str:
    """Return the moments at which the days began, as PostgreSQL writes arrays; at least one."""
    days = range(max(0, (until - since).days) + 1)
    return "{" + ",".join(_start_of(since + timedelta(days=day), zone).isoformat() for day in days) + "}"


def _start_of(day: date, zone: str) -> datetime:
    return datetime.combine(day, time.min, ZoneInfo(zone))
