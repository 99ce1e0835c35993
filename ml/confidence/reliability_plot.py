"""The reliability plot: the accuracy of answers over their confidence."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.confidence.calibration import CalibrationError, divide_into_bins, measure_calibration

_DOTS_PER_INCH = 120


def save_reliability(confidences: NDArray[np.floating], right: NDArray[np.bool_], path: Path) -> None:
    """Draw the accuracy of answers of similar confidence, with 95 % intervals, and the calibration error.

    Args:
        confidences: of n answers, 0 to 1, n from 1.
        right: whether each answer is right, (n,).
        path: PNG file to write.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - a second of import

    bins = divide_into_bins(confidences, right)
    centres, shares = [each.confidence for each in bins], [each.accuracy for each in bins]
    spans = [[each.accuracy - each.low for each in bins], [each.high - each.accuracy for each in bins]]
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="calibrated")
    axes.errorbar(centres, shares, yerr=spans, marker="o", capsize=3, label=f"{len(right)} answers")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Confidence", ylabel="Accuracy", aspect="equal")
    axes.set_title(_describe(measure_calibration(confidences, right)))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def _describe(error: CalibrationError | None) -> str:
    if error is None:
        return "Too few answers for a calibration error"
    return f"Calibration error {error.error:.3f}, 95 % interval {error.low:.3f} to {error.high:.3f}"
