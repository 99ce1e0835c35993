"""How often does the promotion gate let challengers through? By simulation, with the gate itself as the judge.

    python -m benchmarks.gate_passes

A challenger and the champion answer the same images. Each image is one that both get right, only one of them, or
neither, at fixed probabilities: what the two differ in is `lost` (only the champion is right) and `won`.
"""

import numpy as np
from rich.console import Console
from rich.table import Table

from ml.evaluation.gate import BestVersion, Comparison, judge

IMAGES_PER_CLASS = 50
CLASSES = 10
CHAMPION_ACCURACY = 0.85
DRAWS = 4000
FLOOR = 0.70
VERSIONS = (1, 5, 12, 24)


def passing_share(loss: float, disagreement: float, seed: int, versions: int = 1) -> float:
    """The share of challengers that the gate promotes.

    Args:
        loss: by which the challenger is worse in truth, 0 to 1.
        disagreement: share of images that only one of the two gets right.
        versions: how many were in production, the champion included; each as good as the champion in truth, and as
            different from the challenger.
    """
    random = np.random.default_rng(seed)
    lost, won = (disagreement + loss) / 2, (disagreement - loss) / 2
    labels = np.repeat([f"class {number}" for number in range(CLASSES)], IMAGES_PER_CLASS)
    groups = np.arange(len(labels)).astype(str)
    passed = 0
    for _ in range(DRAWS):
        challenger = random.random(len(labels)) < CHAMPION_ACCURACY - loss
        # Where the challenger is right, a version is wrong this often; and the other way round.
        wrong, right = won / (CHAMPION_ACCURACY - loss), lost / (1 - CHAMPION_ACCURACY + loss)
        chance = np.where(challenger, 1 - wrong, right)
        others = random.random((versions, len(labels))) < chance
        best = BestVersion(1, float(others.mean(axis=1).max()), float(challenger.mean()))
        passed += judge(Comparison(labels, challenger, others[0], groups), best, {}, FLOOR).decision == "promote"
    return passed / DRAWS


def main() -> None:
    """Print the tables of docs/decisions/0060."""
    table = Table(title=f"Promoted, of {DRAWS} challengers each; {CLASSES * IMAGES_PER_CLASS} images")
    table.add_column("the two differ on")
    for loss in (0, 1, 3, 5):
        table.add_column("equally good" if loss == 0 else f"{loss} points worse", justify="right")
    for disagreement in (0.06, 0.10, 0.20):
        shares = [passing_share(loss / 100, disagreement, seed=loss) for loss in (0, 1, 3, 5)]
        table.add_row(f"{disagreement:.0%} of the images", *(f"{share:.1%}" for share in shares))
    Console().print(table)
    table = Table(title=f"Promoted, of {DRAWS} equally good challengers each")
    table.add_column("the two differ on")
    for versions in VERSIONS:
        table.add_column(f"{versions} in production so far", justify="right")
    for disagreement in (0.06, 0.10, 0.20):
        shares = [passing_share(0, disagreement, versions, versions) for versions in VERSIONS]
        table.add_row(f"{disagreement:.0%} of the images", *(f"{share:.1%}" for share in shares))
    Console().print(table)


if __name__ == "__main__":
    main()
