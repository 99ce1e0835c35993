"""Pictures for the MLflow run: how training went, and who is taken for whom."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOTS_PER_INCH = 120
CURVES = (("loss", "Loss"), ("accuracy", "Accuracy"))
MOST_CLASSES_WITH_COUNTS = 40


def save_learning_curves(history: Mapping[str, Sequence[float]], path: Path, kept_epoch: int | None = None) -> None:
    """Draw loss and accuracy of both folds over the epochs, the best epoch marked.

    Args:
        history: loss, accuracy, val_loss and val_accuracy, one value per epoch.
        path: PNG file to write.
        kept_epoch: the one whose weights were kept, from 0; the one with the lowest validation loss when None.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - a second of import

    figure = Figure(figsize=(10, 4), layout="constrained")
    best_epoch = (int(np.argmin(history["val_loss"])) if kept_epoch is None else kept_epoch) + 1
    for axes, (name, title) in zip(figure.subplots(1, 2), CURVES, strict=True):
        epochs = range(1, len(history[name]) + 1)
        axes.plot(epochs, history[name], marker=".", label="training")
        axes.plot(epochs, history[f"val_{name}"], marker=".", label="validation")
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: epoch {best_epoch}")
        axes.set(title=title, xlabel="Epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=DOTS_PER_INCH)


def save_confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix: colour is the share of a true class, the figure in a cell the number of images.

    Args:
        confusion: confusion[i][j] images of class i were taken for class j.
        classes: names, in that order.
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
