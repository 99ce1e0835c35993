"""Plot the nights."""

from collections.abc import Sequence
from pathlib import Path

from ml.settings import Settings
from soak.soak_nights import Night

_WIDTH, _HEIGHT = 9.0, 7.0  # inches


def draw_nights(nights: Sequence[Night], settings: Settings, drift_from: int, path: Path) -> None:
    """Plot accuracy, new images and versions over the nights, as a PNG file."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second

    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    accuracy, arrivals, versions = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 1))
    numbers = [night.number for night in nights]
    accuracy.plot(numbers, [night.anchor for night in nights], marker=".", label="anchor")
    recent = [(night.number, night.recent) for night in nights if night.recent is not None]
    accuracy.plot(*zip(*recent, strict=True), marker=".", label="recent")
    estimated = [(night.number, night.estimated) for night in nights if night.estimated is not None]
    accuracy.plot(*zip(*estimated, strict=True), linestyle=":", color="tab:red", label="estimated without labels")
    accuracy.axhline(settings.accuracy_floor, color="grey", linestyle="--", linewidth=1, label="floor")
    accuracy.set(ylabel="accuracy of the champion", ylim=(0, 1))
    arrivals.bar(numbers, [night.new_images for night in nights], color="tab:green")
    arrivals.axhline(settings.new_images_threshold, color="grey", linestyle="--", linewidth=1)
    arrivals.set(ylabel="new images")
    versions.step(numbers, [night.production_version for night in nights], where="mid", color="tab:purple")
    versions.set(ylabel="version", xlabel="night", yticks=range(1, max(n.production_version for n in nights) + 1))
    for axes in (accuracy, arrivals, versions):
        axes.axvspan(drift_from - 0.5, numbers[-1] + 0.5, color="tab:orange", alpha=0.12, label="turned digits")
        for night in nights:
            if night.decision == "promote":
                axes.axvline(night.number, color="tab:purple", linewidth=1, alpha=0.6)
            elif night.decision is not None:
                axes.axvline(night.number, color="tab:red", linewidth=1, linestyle=":", alpha=0.8)
        axes.margins(x=0)
    accuracy.legend(loc="lower left")
    figure.suptitle("Thirty nights: violet lines are promotions, dotted red lines are rejected challengers")
    figure.savefig(path, dpi=100)
