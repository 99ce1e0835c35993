"""The frame of a plot: the positions of values, the grid and its labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml.reporting.report.colours import LINE
from ml.reporting.report.svg import Drawing

_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 18, 26, 26


@dataclass(frozen=True)
class Frame:
    """The area of a plot. Args: low, high, the values at the lower and the upper edge."""

    drawing: Drawing
    low: float
    high: float

    @property
    def left(self) -> float:
        return _LEFT

    @property
    def right(self) -> float:
        return self.drawing.width - _RIGHT

    @property
    def top(self) -> float:
        return _TOP

    @property
    def bottom(self) -> float:
        return self.drawing.height - _BOTTOM

    def x(self, share: float) -> float:
        """Return a horizontal position, pixels. Args: share, from 0 at the left edge to 1 at the right one."""
        return self.left + share * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return the vertical position of a value, pixels."""
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)

    def draw_grid(self, values: Sequence[float], pattern: str) -> None:
        """Draw a line and a label for each value. Args: pattern, format of the labels, such as `.0%`."""
        for value in values:
            height = self.y(value)
            self.drawing.line([(self.left, height), (self.right, height)], LINE)
            self.drawing.text((self.left - 7, height + 4), format(value, pattern), "end")

    def draw_labels(self, labels: Sequence[tuple[float, str]]) -> None:
        """Write labels below the plot, from the last one back, and leave out those without room.

        Args: labels, (x, text).
        """
        limit = float("inf")
        for x, words in reversed(labels):
            half = 3.6 * len(words)
            centre = min(x, self.drawing.width - half - 2)
            if centre + half < limit and centre - half >= 0:
                self.drawing.text((centre, self.bottom + 18), words, "middle")
                limit = centre - half - 12
