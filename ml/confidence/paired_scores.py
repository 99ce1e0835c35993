"""Compare the scores of two models on the same images, so that a real difference can be told from chance.

Photos of one observation are alike, so all functions treat a group of images as one. All functions are pure.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_PERMUTATIONS = 9999
_SEED = 0  # the same answers have the same p-value

ItemScores = NDArray[np.float64]
Groups = NDArray[np.str_]


def mean_gain(one: ItemScores, other: ItemScores, groups: Groups) -> tuple[float, float]:
    """Compute how much better one model is than another, and the standard error of this difference.

    Differences are summed in each group. The standard error assumes equally good models, as in McNemar's test. The
    estimate around the mean difference gives the same answer to whether a difference exceeds one standard error.

    Args: scores of the same n images, and the group of each, all of shape (n,).
    Returns: both as shares of the images; the difference from -1 to 1.
    """
    gained = _gains(one, other, groups)
    return float(gained.sum()) / len(groups), float(np.sqrt((gained**2).sum())) / len(groups)


def loss_p_value(one: ItemScores, other: ItemScores, groups: Groups) -> float:
    """Compute the probability that one of two equally good models loses at least as much to the other as this one.

    This is a one-sided test. Under its null hypothesis, the sum of a group's differences is as likely positive as
    negative. If all sums are whole numbers, the test is exact; with one image per group it is McNemar's test. Otherwise
    it is a permutation test.
    Sources: McNemar, Psychometrika 12 (1947); Fisher, The Design of Experiments (1935), for sums;
    scipy.stats.permutation_test.

    Args: all of shape (n,).
    """
    gained = _gains(one, other, groups)
    if not (gained == gained.round()).all():
        return _permutation_p_value(-gained)
    lost = -gained.astype(int)
    chances = np.ones(1)  # probability of each possible sum, from the smallest to the largest
    for images in np.abs(lost[lost != 0]):
        shifted = np.zeros(len(chances) + 2 * images)
        shifted[: len(chances)] += chances / 2  # if the group is a gain
        shifted[2 * images :] += chances / 2  # if it is a loss
        chances = shifted
    return float(chances[np.abs(lost).sum() + lost.sum() :].sum())


def difference_p_value(one: ItemScores, other: ItemScores, groups: Groups) -> float:
    """Compute the probability that two equally good models differ at least as much as these: the two-sided test.

    Args: all of shape (n,).
    """
    return min(1.0, 2 * min(loss_p_value(one, other, groups), loss_p_value(other, one, groups)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple comparisons: one below a level is significant at that level for all together.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    steps = [p_values[index] * (len(p_values) - rank) for rank, index in enumerate(order)]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(value) for value in adjusted]


def _gains(one: ItemScores, other: ItemScores, groups: Groups) -> ItemScores:
    """Return the sum of one model's score minus the other's in each group."""
    _, group = np.unique(groups, return_inverse=True)
    return np.bincount(group, one - other).astype(np.float64)


def _permutation_p_value(lost: ItemScores) -> float:
    from scipy.stats import permutation_test  # noqa: PLC0415 - 1 s

    found = permutation_test(
        (lost,),
        lambda each, axis: each.sum(axis=axis),
        permutation_type="samples",
        alternative="greater",
        n_resamples=_PERMUTATIONS,
        vectorized=True,
        batch=1000,
        rng=np.random.default_rng(_SEED),
    )
    return float(found.pvalue)
