"""Plot of the confusion matrix for the MLflow run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOTS_PER_INCH = 120
MOST_CLASSES_WITH_COUNTS = 40


def save_confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix. The colour is the share of the true class; the number in a cell counts images.

    Args:
        confusion: confusion[i][j] images of class i were classified as class j.
        classes: class names, in the order of the indices.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415

    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(5.0, 0.45 * len(classes) + 3.0), 30.0)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="Share of the true class", shrink=0.8)
    _name_axes(axes, classes)
    if len(classes) <= MOST_CLASSES_WITH_COUNTS:
        _write_counts(axes, counts, shares)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def _name_axes(axes: "Axes", classes: Sequence[str]) -> None:
    ticks = range(len(classes))
    is_short = max(map(len, classes)) <= 3
    axes.set_xticks(ticks, classes, rotation=0 if is_short else 60, ha="center" if is_short else "right")
    if not is_short:
        axes.tick_params(axis="x", labelrotation=60)
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
    axes.set_yticks(ticks, classes)
    axes.set(xlabel="Predicted class", ylabel="True class", title=f"Confusion matrix, {len(classes)} classes")


def _write_counts(axes: "Axes", counts: np.ndarray, shares: np.ndarray) -> None:
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
