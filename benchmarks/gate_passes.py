"""Simulate how often challengers pass the promotion gate. The real gate decides.

    python -m benchmarks.gate_passes [--plot docs/gate.png]

Each image has its own probability of a right answer, drawn from a Beta distribution around CHAMPION_ACCURACY. A model
answers it correctly with that probability. The spread of the distribution sets on how many images only one of two
equally good models is right, and so how their answers correlate. Challengers come one after the other. A challenger
that passes the gate becomes the champion for the next one.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ml.evaluation.floor import Floor
from ml.evaluation.gate import BestVersion, Comparison, judge
from ml.tasks.task import Scores

CLASSES = 10
CHAMPION_ACCURACY = 0.85
FLOOR = Floor(0.70)
SIZES = (250, 500, 1000)  # images of the evaluation set
DISAGREEMENTS = (0.03, 0.06, 0.10, 0.20)  # shares of images on which only one of two equally good models is right
TRIES = 24
TOLERANCES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)  # in standard errors
CHAINS = 50
DRAWS = 500
SWEPT_CHAINS = 600
SWEPT_DRAWS = 3000


@dataclass(frozen=True)
class World:
    """A simulation. Args: disagreement, above 0 and below 0.255; at 0.255 the answers would be independent."""

    images: int
    disagreement: float
    has_best: bool = True  # whether the gate also compares with the best version ever

    def draw_chances(self, random: np.random.Generator) -> NDArray[np.float64]:
        """Draw the probability of a right answer of the first champion, for each image, (images,)."""
        # Two equally good models disagree on 2 E[p (1 - p)] of the images.
        spread = self.disagreement / (2 * CHAMPION_ACCURACY * (1 - CHAMPION_ACCURACY))
        concentration = spread / (1 - spread)
        ends = CHAMPION_ACCURACY * concentration, (1 - CHAMPION_ACCURACY) * concentration
        return random.beta(*ends, self.images)

    def follow(self, random: np.random.Generator, tries: int, loss: float, is_heritable: bool) -> Iterator["Try"]:
        """Let challengers try one after the other.

        Args:
            tries: number of challengers.
            loss: true loss of accuracy of each challenger, 0 to 1.
            is_heritable: whether the loss is relative to the current champion; otherwise to the first one.
        """
        chances = self.draw_chances(random)
        groups = np.arange(self.images).astype(str)
        labels = (np.arange(self.images) % CLASSES).astype(str)
        champion, behind = random.random(self.images) < chances, 0.0
        best = champion
        for _ in range(tries):
            loses = loss + behind if is_heritable else loss
            is_kept = random.random(self.images) >= loses / CHAMPION_ACCURACY
            challenger = (random.random(self.images) < chances) & is_kept
            ever = BestVersion(1, float(best.mean()), float(challenger.mean())) if self.has_best else None
            mine, theirs = (Scores.of_labels(labels, each.astype(np.float64)) for each in (challenger, champion))
            verdict = judge(Comparison(mine, theirs, groups), True, ever, {}, FLOOR)
            has_passed = verdict.decision == "promote"
            if has_passed:
                champion, behind = challenger, loses
                best = max(best, challenger, key=lambda version: float(version.mean()))
            yield Try(has_passed, behind)


@dataclass(frozen=True)
class Try:
    """The result of one challenger. Args: behind, true loss of accuracy of production afterwards, 0 to 1."""

    has_passed: bool
    behind: float


def first_share(world: World, loss: float, draws: int = DRAWS) -> float:
    """Return the share of challengers that the gate promotes over a champion that was not selected."""
    random = np.random.default_rng(1)
    return float(np.mean([next(world.follow(random, 1, loss, False)).has_passed for _ in range(draws)]))


def last_share(world: World, chains: int = CHAINS, tries: int = TRIES) -> float:
    """Return the share of equally good challengers that are promoted, over the last five tries."""
    random = np.random.default_rng(2)
    passed = [[each.has_passed for each in world.follow(random, tries, 0, False)][-5:] for _ in range(chains)]
    return float(np.mean(passed))


def decline(world: World, loss: float, chains: int = CHAINS) -> float:
    """Return the true loss of accuracy of production at the end, if each challenger is worse than its champion."""
    random = np.random.default_rng(3)
    return float(np.mean([list(world.follow(random, TRIES, loss, True))[-1].behind for _ in range(chains)]))


def tolerance_shares(world: World, tolerance: float) -> tuple[float, float]:
    """Simulate another tolerance than the gate's, with its first criterion alone. Quick: all draws run at once.

    Args: tolerance, in standard errors of the difference.
    Returns: the share of challengers one point worse that are promoted at the first try, and the share of equally good
        challengers that are promoted at the last three tries.
    """
    random = np.random.default_rng(4)
    worse = _passes(world, random, tolerance, SWEPT_DRAWS, 1, 0.01)
    equal = _passes(world, random, tolerance, SWEPT_CHAINS, TRIES, 0.0)
    return float(worse[0].mean()), float(equal[-3:].mean())


def _passes(
    world: World, random: np.random.Generator, tolerance: float, chains: int, tries: int, loss: float
) -> NDArray[np.bool_]:
    """Return whether each try of each chain passes, (tries, chains)."""
    chances = np.stack([world.draw_chances(random) for _ in range(chains)])
    champions = random.random(chances.shape) < chances
    passed = []
    for _ in range(tries):
        is_kept = random.random(chances.shape) >= loss / CHAMPION_ACCURACY
        challengers = (random.random(chances.shape) < chances) & is_kept
        gained = challengers.astype(np.int8) - champions
        passed.append(gained.sum(axis=1) >= -tolerance * np.sqrt(np.abs(gained).sum(axis=1)) - 1e-9)
        champions = np.where(passed[-1][:, None], challengers, champions)
    return np.array(passed)


Swept = dict[tuple[float, int], list[tuple[float, float]]]  # (disagreement, images) -> shares by tolerance


def draw_curve(path: Path, swept: Swept) -> None:
    """Plot for each tolerance, as a PNG file, the share of equal challengers promoted and of those one point worse."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    drawn = DISAGREEMENTS[:3]
    figure = Figure(figsize=(4.2 * len(drawn), 4.4), layout="constrained")
    for axes, disagreement in zip(figure.subplots(1, len(drawn), sharey=True), drawn, strict=True):
        axes.add_patch(Rectangle((0, 0.4), 0.3, 0.6, color="tab:green", alpha=0.15))
        for size in SIZES:
            points = swept[disagreement, size]
            axes.plot(*zip(*points, strict=True), marker="o", label=f"{size} images")
            for point, tolerance in zip(points, TOLERANCES, strict=True):
                axes.annotate(f"{tolerance:g}", point, textcoords="offset points", xytext=(4, -9), fontsize=7)
        axes.set(xlim=(0, 1), ylim=(0, 1), title=f"two equal models differ on {disagreement:.0%}")
        axes.set(xlabel="promoted at the first try, of those a point worse")
    figure.axes[0].set(ylabel="promoted at the 24th try, of the equally good")
    figure.axes[0].legend(loc="lower right")
    figure.suptitle("Each point is a tolerance in standard errors; the gate has 1. Green is what was asked for")
    figure.savefig(path, dpi=90)


def main() -> None:
    """Print the tables of docs/decisions/0074, and draw its curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="draw the curve of all tolerances into this PNG file")
    plot = parser.parse_args().plot
    worlds = [World(size, disagreement) for disagreement in DISAGREEMENTS for size in SIZES]
    swept = {(each.disagreement, each.images): [tolerance_shares(each, t) for t in TOLERANCES] for each in worlds}
    table = Table("differ on", "images", *(f"{tolerance:g} standard errors" for tolerance in TOLERANCES))
    for (disagreement, size), shares in swept.items():
        table.add_row(f"{disagreement:.0%}", str(size), *(f"{equal:.0%} / {worse:.0%}" for worse, equal in shares))
    Console().print(table)
    if plot is not None:
        draw_curve(plot, swept)
    table = Table("differ on", "images", "equal, 1st", "equal, 24th", *(f"{loss} points worse" for loss in (1, 3, 5)))
    for world in worlds:
        worse = [first_share(world, loss) for loss in (0.01, 0.03, 0.05)]
        figures = [first_share(world, 0), last_share(world), *worse]
        table.add_row(f"{world.disagreement:.0%}", str(world.images), *(f"{share:.0%}" for share in figures))
    Console().print(table)
    table = Table(
        "images", "each worse by", "points lost", "without the best ever", title="After 24 tries; differ on 6 %"
    )
    for size in SIZES:
        for loss in (0.003, 0.01):
            lost = [100 * decline(World(size, 0.06, has_best), loss) for has_best in (True, False)]
            table.add_row(str(size), f"{100 * loss:.1f} points", *(f"{points:.1f} points" for points in lost))
    Console().print(table)


if __name__ == "__main__":
    main()
