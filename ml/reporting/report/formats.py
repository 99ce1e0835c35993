"""Formats of figures and times on the page."""

from datetime import UTC, datetime, timedelta

from ml.figures import Unit


def percent(share: float | None) -> str:
    """Format a share between 0 and 1."""
    return "not known" if share is None else f"{share:.1%}"


def in_unit(value: float, unit: Unit) -> str:
    """Format a figure of ml.figures."""
    if unit == "share":
        return percent(value)
    return moment(datetime.fromtimestamp(value, UTC)) if unit == "time" else f"{value:g}"


def moment(at: datetime | None) -> str:
    """Format a time, in UTC."""
    return "never" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def ago(passed: timedelta) -> str:
    """Format the time since an event in days, hours or minutes."""
    minutes = passed.total_seconds() / 60
    for unit, size, enough in (("day", 1440, 2880), ("hour", 60, 120), ("minute", 1, 1)):
        if minutes >= enough:
            return f"{count(int(minutes / size), unit)} ago"
    return "just now"


def lasted(seconds: float) -> str:
    """Format a duration."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def count(number: int, unit: str) -> str:
    """`1 image`, `2 images`."""
    plural = f"{unit}es" if unit.endswith("ch") else f"{unit}s"
    return f"{number} {unit if number == 1 else plural}"


def listed(items: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))
