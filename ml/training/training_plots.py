"""Plots of the training for the MLflow run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ml.figures import title_of

DOTS_PER_INCH = 120


def save_learning_curves(history: Mapping[str, Sequence[float]], path: Path, kept_epoch: int | None = None) -> None:
    """Draw the figures of both folds over the epochs, and mark the best epoch.

    Args:
        history: one value per epoch, by name, with `val_loss`. `val_` before a name means the validation fold.
        path: PNG file to write.
        kept_epoch: the epoch whose weights were kept, from 0. If None, the one with the lowest validation loss.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - a second of import

    names = [name for name in history if f"val_{name}" in history]
    figure = Figure(figsize=(5 * len(names), 4), layout="constrained")
    best_epoch = (int(np.argmin(history["val_loss"])) if kept_epoch is None else kept_epoch) + 1
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        epochs = range(1, len(history[name]) + 1)
        axes.plot(epochs, history[name], marker=".", label="training")
        axes.plot(epochs, history[f"val_{name}"], marker=".", label="validation")
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"kept: epoch {best_epoch}")
        axes.set(title=title_of(name), xlabel="Epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=DOTS_PER_INCH)
