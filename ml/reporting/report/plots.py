"""The plots of the page, each in one width for a screen and one for a phone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ml.catalog.images.daily_arrivals import DayOfArrivals
from ml.catalog.models.journal import Move
from ml.reporting.health import NightPoint
from ml.reporting.report.colours import BLUE, GREY, ORIGINS, VERMILLION, of_origin
from ml.reporting.report.frame import Frame
from ml.reporting.report.svg import Drawing

WIDE, NARROW = 720, 340  # pixels
_HEIGHT = 210
_LABEL_ROOM = 30  # the least distance between two labelled marks, pixels


def draw_trend(nights: Sequence[NightPoint], moves: Sequence[Move], until: datetime, floor: float, width: int) -> str:
    """Plot the accuracy at each nightly check, the floor, and a mark wherever another version went into production.

    Args:
        nights: oldest first, one or more.
        moves: in any order; moves before the first night are left out.
        until: time of the right edge, not before any night or move.
    Returns: the image as a data URI.
    """
    lowest = min(floor, *(night.main_figure for night in nights))
    frame = Frame(Drawing(width, _HEIGHT), max(0.0, math.floor(10 * lowest - 0.5) / 10), 1.0)
    step = 0.1 if frame.low >= 0.4 else 0.2
    frame.draw_grid([1 - step * number for number in range(int((1 - frame.low) / step + 1.001))], ".0%")
    time = _TimeAxis(frame, nights[0].monitored_at, until)
    _draw_floor(frame, floor)
    _draw_moves(time, nights[0].model_version, moves)
    points = [(time.x(night.monitored_at), frame.y(night.main_figure)) for night in nights]
    frame.drawing.line(points, BLUE, 2)
    for point, night in zip(points, nights, strict=True):
        frame.drawing.dot(point, VERMILLION if night.shortfalls else BLUE)
    frame.draw_labels([(time.x(night.monitored_at), time.words(night.monitored_at)) for night in nights])
    return frame.drawing.data_uri()


def draw_arrivals(days: Sequence[DayOfArrivals], width: int) -> str:
    """Plot the images that entered the pool on each day, by label origin.

    Args: days, oldest first, one or more.
    Returns: the image as a data URI.
    """
    step = _round_step(max(day.total for day in days))
    top = step * max(1, math.ceil(max(day.total for day in days) / step))
    frame = Frame(Drawing(width, _HEIGHT), 0, top)
    frame.draw_grid([step * number for number in range(top // step + 1)], "d")
    origins = [*ORIGINS, *sorted({origin for day in days for origin in day.counts} - set(ORIGINS))]
    for number, day in enumerate(days):
        _draw_day(frame, day, origins, number / len(days), 1 / len(days))
    _draw_legend(frame, [origin for origin in origins if any(origin in day.counts for day in days)])
    frame.draw_labels(
        [(frame.x((number + 0.5) / len(days)), f"{day.day:%b} {day.day.day}") for number, day in enumerate(days)]
    )
    return frame.drawing.data_uri()


@dataclass(frozen=True)
class _TimeAxis:
    """The horizontal positions of times. A night without a check leaves a gap."""

    frame: Frame
    first: datetime
    last: datetime

    def x(self, moment: datetime) -> float:
        if self.first >= self.last:
            return self.frame.x(0.5)
        return self.frame.x(0.02 + 0.96 * ((moment - self.first) / (self.last - self.first)))

    def words(self, moment: datetime) -> str:
        in_utc = moment.astimezone(UTC)
        return f"{in_utc:%H:%M}" if self.last - self.first < timedelta(days=2) else f"{in_utc:%b} {in_utc.day}"


def _draw_floor(frame: Frame, floor: float) -> None:
    height = frame.y(floor)
    frame.drawing.line([(frame.left, height), (frame.right, height)], VERMILLION, 1.2, "6 4")
    frame.drawing.text((frame.left + 4, height - 5), f"floor {floor:.0%}", "start", VERMILLION)


def _draw_moves(time: _TimeAxis, version: int, moves: Sequence[Move]) -> None:
    frame = time.frame
    frame.drawing.text((time.x(time.first), frame.top - 9), f"v{version}", "middle")
    last_label = time.x(time.first)
    for move in sorted(moves, key=lambda move: move.moved_at):
        if move.kind == "release" or move.moved_at <= time.first:
            continue
        x = time.x(move.moved_at)
        frame.drawing.line([(x, frame.top - 4), (x, frame.bottom)], GREY, 1, "2 3")
        if x - last_label >= _LABEL_ROOM:
            name = "none" if move.to_version is None else f"v{move.to_version}"
            frame.drawing.text((x, frame.top - 9), name, "middle")
            last_label = x


def _draw_day(frame: Frame, day: DayOfArrivals, origins: Sequence[str], start: float, share: float) -> None:
    room = frame.x(start + share) - frame.x(start)
    height = 0
    for origin in origins:
        added = day.counts.get(origin, 0)
        lower, height = height, height + added
        if added:
            y = frame.y(height)
            frame.drawing.bar(frame.x(start) + 0.12 * room, y, 0.76 * room, frame.y(lower) - y, of_origin(origin))


def _draw_legend(frame: Frame, origins: Sequence[str]) -> None:
    x = frame.left
    for origin in origins:
        frame.drawing.bar(x, frame.top - 20, 10, 10, of_origin(origin))
        frame.drawing.text((x + 15, frame.top - 11), origin)
        x += 34 + 6.5 * len(origin)


def _round_step(highest: int) -> int:
    """Return the step of a grid with about five lines: 1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power * 5 >= highest:
                return factor * power
        power *= 10
