"""The plot of a comparison: accuracy against time."""

from collections.abc import Sequence
from pathlib import Path

from ml.training.comparison.compared_backbones import ComparedBackbone
from ml.training.training_plots import DOTS_PER_INCH

_MARKERS = {"fp32": "o", "int8": "s"}
_TICKS = (1, 1.5, 2, 3, 4, 5, 7)  # of each decade


def save_accuracy_against_time(rows: Sequence[ComparedBackbone], path: Path) -> None:
    """Draw the accuracy of each network, with its 95 % interval, against the time for one image, logarithmic.

    A colour is a backbone with its weights, a marker a precision, and the number beside it the image size.

    Args: path, PNG file to write.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - a second of import
    from matplotlib.ticker import LogLocator, NullLocator  # noqa: PLC0415

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    families = list(dict.fromkeys((row.backbone, row.weights) for row in rows))
    for row in rows:
        index = families.index((row.backbone, row.weights))
        axes.errorbar(
            row.milliseconds,
            100 * row.accuracy,
            yerr=[[100 * (row.accuracy - row.accuracy_low)], [100 * (row.accuracy_high - row.accuracy)]],
            fmt=_MARKERS[row.precision],
            color=f"C{index % 10}",
            markerfacecolor="white" if row.refused else f"C{index % 10}",
            capsize=3,
        )
        axes.annotate(
            f"{row.image_size} px",
            (row.milliseconds, 100 * row.accuracy),
            xytext=(6, 4),
            textcoords="offset points",
            fontsize=8,
        )
    for index, (backbone, weights) in enumerate(families):
        axes.plot([], [], marker="o", linestyle="", color=f"C{index % 10}", label=f"{backbone}, {weights}")
    for precision, marker in _MARKERS.items():
        if any(row.precision == precision for row in rows):
            axes.plot([], [], marker=marker, linestyle="", color="grey", label=precision)
    if any(row.refused for row in rows):
        axes.plot([], [], marker="s", linestyle="", color="grey", markerfacecolor="white", label="int8, refused")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=_TICKS, numticks=100))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.12)  # room for the last image size
    axes.set(xlabel="Milliseconds for one image", ylabel="Accuracy, %, and its 95 % interval")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    figure.savefig(path, dpi=DOTS_PER_INCH)
