"""The plots of a version's page: learning curves, and how far its confidences are right."""

import math
from collections.abc import Sequence

from ml.confidence.calibration import ReliabilityBin
from ml.reporting.report.colours import BLUE, GREY, ORANGE
from ml.reporting.report.frame import Frame
from ml.reporting.report.svg import Drawing

_WIDTH, _HEIGHT = 340, 210  # pixels; two of them stand side by side, or one on a phone
_GRID_LINES = 4


def draw_curves(training: Sequence[float], validation: Sequence[float], names: tuple[str, str]) -> str:
    """Draw a figure of both folds over the epochs.

    Args: names, of the two folds, for the legend.
    Returns: the image as a data URI.
    """
    values = [value for value in (*training, *validation) if math.isfinite(value)] or [0.0]
    low, high, step = _choose_range(min(values), max(values))
    frame = Frame(Drawing(_WIDTH, _HEIGHT), low, high)
    lines = [low + step * number for number in range(round((high - low) / step) + 1)]
    frame.draw_grid(lines, f".{max(0, -math.floor(math.log10(step)))}f")
    count = max(len(training), len(validation))
    places = [frame.x(number / max(count - 1, 1)) for number in range(count)]
    folds = zip((training, validation), (ORANGE, BLUE), names, (frame.left, frame.left + 150), strict=True)
    for curve, colour, name, x in folds:
        points = [(place, frame.y(value)) for place, value in zip(places, curve, strict=False) if math.isfinite(value)]
        frame.drawing.line(points, colour, 2)
        frame.drawing.bar(x, frame.top - 20, 10, 10, colour)
        frame.drawing.text((x + 15, frame.top - 11), name)
    frame.draw_labels([(place, str(number)) for number, place in enumerate(places, 1)])
    return frame.drawing.data_uri()


def draw_reliability(bins: Sequence[ReliabilityBin]) -> str:
    """Draw the accuracy of answers of similar confidence, with its 95 % interval, over that confidence.

    Answers on the dashed diagonal are as often right as their confidence says.

    Args: bins, one or more.
    Returns: the image as a data URI.
    """
    frame = Frame(Drawing(_WIDTH, _WIDTH), 0.0, 1.0)
    frame.draw_grid([0, 0.2, 0.4, 0.6, 0.8, 1.0], ".0%")
    frame.drawing.line([(frame.x(0), frame.y(0)), (frame.x(1), frame.y(1))], GREY, 1.2, "6 4")
    for each in bins:
        x = frame.x(each.confidence)
        frame.drawing.line([(x, frame.y(each.low)), (x, frame.y(each.high))], BLUE, 1.5)
        frame.drawing.dot((x, frame.y(each.accuracy)), BLUE)
    frame.draw_labels([(frame.x(share), f"{share:.0%}") for share in (0, 0.2, 0.4, 0.6, 0.8, 1.0)])
    return frame.drawing.data_uri()


def _choose_range(lowest: float, highest: float) -> tuple[float, float, float]:
    """Return limits around two values, and the step of a grid between them: 1, 2 or 5 times a power of ten."""
    spread = max(highest - lowest, 1e-3 * max(abs(highest), 1.0))
    power = 10.0 ** math.floor(math.log10(spread / _GRID_LINES))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * _GRID_LINES >= spread)
    return math.floor(lowest / step) * step, math.floor(highest / step + 1) * step, step
