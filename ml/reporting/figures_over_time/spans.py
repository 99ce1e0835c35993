"""The days that a reader looks at, in the reader's time zone."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import sqlalchemy as sa

UTC_ZONE = "UTC"
EARLIEST, LATEST = date(2000, 1, 1), date(2200, 1, 1)


@cache
def known_zones() -> frozenset[str]:
    """Return the names of all time zones that Python and PostgreSQL know."""
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
        return self._start(self.since), self._start(self.until + timedelta(days=1))

    def day_of(self, moment: datetime) -> date:
        """Return the day of a moment."""
        return moment.astimezone(ZoneInfo(self.zone)).date()

    def _start(self, day: date) -> datetime:
        return datetime.combine(day, time.min, ZoneInfo(self.zone))
