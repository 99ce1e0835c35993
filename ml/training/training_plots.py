"""Pictures for the MLflow run: how training went."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

DOTS_PER_INCH = 120


def save_learning_curves(history: Mapping[str, Sequence[float]], path: Path, kept_epoch: int | None = None) -> None:
    """Draw the figures that both folds have over the epochs, the best epoch marked.

    Args:
        history: one value per epoch, by name; `val_` before it names the validation fold's. A loss is among them.
        path: PNG file to write.
        kept_epoch: the one whose weights were kept, from 0; the one with the lowest validation loss when None.
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
        axes.set(title=name.capitalize().replace("_", " "), xlabel="Epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=DOTS_PER_INCH)
