"""The accuracy of the last nights, as the lines and points of a plot; the template draws them in the page's colours."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml.reporting.health import NightPoint

WIDTH, HEIGHT = 960, 240
LEFT, RIGHT, TOP, BOTTOM = 52, WIDTH - 26, 22, HEIGHT - 30
_LABEL_ROOM = 92  # pixels that a date takes
_GRID_STEPS = 4


@dataclass(frozen=True)
class Mark:
    """Something at a place on an axis, and its words."""

    at: float
    words: str


@dataclass(frozen=True)
class Point:
    """One night."""

    x: float
    y: float
    words: str
    is_below_floor: bool


@dataclass(frozen=True)
class Trend:
    """A plot in its own coordinates.

    Args: grid, heights; dates, places below; changes, places where another version was in production.
    """

    points: Sequence[Point]
    floor: Mark
    grid: Sequence[Mark]
    dates: Sequence[Mark]
    changes: Sequence[Mark]

    @property
    def line(self) -> str:
        """The points as SVG writes them."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


def draw_trend(nights: Sequence[NightPoint], floor: float) -> Trend:
    """Lay out the plot.

    Args: nights, oldest first, one or more; floor, 0 to 1.
    """
    lowest = min(floor, *(night.main_figure for night in nights))
    low = max(0.0, int(lowest * 10 - 0.5) / 10)
    places = _places(nights)

    def y(accuracy: float) -> float:
        return BOTTOM - (accuracy - low) / (1 - low) * (BOTTOM - TOP)

    return Trend(
        points=[_point(night, x, y(night.main_figure)) for night, x in zip(nights, places, strict=True)],
        floor=Mark(y(floor), f"floor {floor:.0%}"),
        grid=[
            Mark(y(value), f"{value:.0%}")
            for value in (low + (1 - low) * step / _GRID_STEPS for step in range(_GRID_STEPS + 1))
        ],
        dates=_dates(nights, places),
        changes=[
            Mark(x, f"version {night.model_version}")
            for before, night, x in zip(nights, nights[1:], places[1:], strict=False)
            if night.model_version != before.model_version
        ],
    )


def _point(night: NightPoint, x: float, y: float) -> Point:
    words = f"{night.monitored_at:%Y-%m-%d %H:%M}, version {night.model_version}: {night.main_figure:.1%}"
    return Point(x, y, words, bool(night.shortfalls))


def _places(nights: Sequence[NightPoint]) -> list[float]:
    """Where each night stands between left and right, by its time; one alone stands in the middle."""
    first, last = nights[0].monitored_at, nights[-1].monitored_at
    if first == last:
        return [(LEFT + RIGHT) / 2 for _ in nights]
    return [LEFT + (night.monitored_at - first) / (last - first) * (RIGHT - LEFT) for night in nights]


def _dates(nights: Sequence[NightPoint], places: Sequence[float]) -> list[Mark]:
    """Dates with room between them, the last one always."""
    dates: list[Mark] = []
    for night, x in zip(reversed(nights), reversed(places), strict=True):
        if not dates or dates[-1].at - x >= _LABEL_ROOM:
            dates.append(Mark(x, f"{night.monitored_at:%b %d}"))
    return dates
