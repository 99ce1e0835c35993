"""The promotion gate: may the challenger go into production? A pure function whose reasons are words.

It compares the scores of answers, image by image, and so knows chance from loss. How often it lets equally good and
worse challengers through was simulated: docs/decisions/0074.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.catalog.models.evaluations import Shortfall
from ml.evaluation.floor import Floor
from ml.tasks.base import Scores

SIGNIFICANCE = 0.05  # of all comparisons of classes together
TOLERATED_ERRORS = 1  # standard errors of the difference that a newer model may be behind the champion
TOLERATED_DECLINE = 0.03  # behind the best version that ever was in production
MINIMUM_CLASS_IMAGES = 30  # fewer say nothing about a class of its own
NEW_CLASS_RECALL = 0.5

# Accuracies are counts divided by counts. Any two that differ at all differ by more than this, and a difference that
# only rounding made (0.70 - 0.68 is 0.0200000000000000018) is less.
_ROUNDING = 1e-9
_PERMUTATIONS = 9999
_SEED = 0  # the same answers have the same p-value

ItemScores = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """How well two models' answers fit the same images: the deciding part of the evaluation set, of known classes.

    Args:
        challenger, champion: scores of n images, as the task gives them.
        groups: what each image belongs to, (n,): photos of one observation are alike, and count as one piece of luck.
    """

    challenger: Scores
    champion: Scores
    groups: NDArray[np.str_]

    def __post_init__(self) -> None:
        shapes = self.challenger.items.shape, self.champion.items.shape, self.groups.shape
        if len(set(shapes)) != 1 or self.groups.ndim != 1 or not len(self.groups):
            raise ValueError(f"Expected answers of both models on the same images, one or more. Received: {shapes}")


@dataclass(frozen=True)
class BestVersion:
    """The version, of those that ever were in production, that the challenger is farthest behind today.

    Args:
        figure, challenger_figure: the main figure of both on the same images, of classes that both know, 0 to 1.
    """

    version: int
    figure: float
    challenger_figure: float


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Args:
        decision: `promote` the challenger or `keep` what is in production.
        reasons: why, in full sentences; each criterion has one, passed or not.
        warnings: what a person should know although it did not decide.
    """

    decision: Literal["promote", "keep"]
    reasons: list[str]
    warnings: list[str]


_Criterion = tuple[bool, str]


def judge_first(main_figure: float, shortfalls: Sequence[Shortfall]) -> Verdict:
    """Decide about a model where there is no champion: it goes into production, under the floor with a warning.

    Args: main_figure on the deciding part of the evaluation set, 0 to 1, and what is below its floor there.
    """
    reason = f"There is no champion: the first model goes into production, with {main_figure:.1%}."
    return Verdict("promote", [reason], _warn(shortfalls))


def judge(
    comparison: Comparison,
    is_newer: bool,
    best: BestVersion | None,
    new_class_recalls: Mapping[str, float],
    floor: Floor,
) -> Verdict:
    """Decide about a challenger.

    It is promoted when it is better than the champion by more than one standard error, or learned from newer images and
    is not worse by more than one (with new classes: not significantly worse); is at most TOLERATED_DECLINE behind the
    best version ever in production; reaches the floor or beats the champion; reaches the floor of each class that has
    one, or is no worse there than the champion; has no class whose recall fell significantly; and recognises
    NEW_CLASS_RECALL of each class that is new.

    Args:
        comparison: with the champion.
        is_newer: whether the challenger's snapshot is newer than the champion's.
        best: None where no version that was in production can be scored today.
        new_class_recalls: of the classes that only the challenger knows, 0 to 1.
        floor: what production should reach.
    """
    criteria = [
        _judge_loss(comparison) if new_class_recalls else _judge_difference(comparison, is_newer),
        *([_judge_decline(best)] if best else []),
        _judge_goodness(comparison, floor),
        *_judge_class_floors(comparison, floor),
        _judge_classes(comparison),
        *(_judge_new_class(label, recall) for label, recall in sorted(new_class_recalls.items())),
    ]
    is_good = all(passed for passed, _ in criteria)
    in_production = comparison.challenger if is_good else comparison.champion
    reasons = [reason for _, reason in criteria]
    recalls = _recalls(in_production)
    warnings = _warn(floor.shortfalls(in_production.main, recalls))
    warnings += floor.describe_unmeasured({**recalls, **new_class_recalls})
    return Verdict("promote" if is_good else "keep", reasons, warnings)


def measure_difference(comparison: Comparison) -> tuple[float, float]:
    """How much better the challenger's answers are than the champion's, and the standard error of that.

    What the two differ in is added up in each group. The standard error is that of equally good models, the one of
    McNemar's test: whether a difference exceeds one standard error, it answers like the estimate around the mean.

    Returns: both as shares of the images; the difference from -1 to 1.
    """
    gained = _gains(comparison.challenger.items, comparison.champion.items, comparison.groups)
    count = len(comparison.groups)
    return float(gained.sum()) / count, float(np.sqrt((gained**2).sum())) / count


def loss_p_value(challenger: ItemScores, champion: ItemScores, groups: NDArray[np.str_]) -> float:
    """How likely an equally good challenger loses as many images to the champion as this one, or more.

    One-sided test: what a group's images add up to is as likely to be the champion's loss as its gain. Where answers
    are right or wrong it is exact; with one image in each group that is McNemar's. Others are dealt out by chance.
    Sources: McNemar, Psychometrika 12 (1947); Fisher, The Design of Experiments (1935), for sums;
    scipy.stats.permutation_test.

    Args: all of shape (n,).
    """
    gained = _gains(challenger, champion, groups)
    if not (gained == gained.round()).all():
        return _permutation_p_value(-gained)
    lost = -gained.astype(int)
    chances = np.ones(1)  # of each sum there can be, from the smallest to the largest
    for images in np.abs(lost[lost != 0]):
        moved = np.zeros(len(chances) + 2 * images)
        moved[: len(chances)] += chances / 2  # a gain of so many
        moved[2 * images :] += chances / 2  # a loss
        chances = moved
    return float(chances[np.abs(lost).sum() + lost.sum() :].sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for being many: below a level means significant with all of them together at that level.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    steps = [p_values[index] * (len(p_values) - rank) for rank, index in enumerate(order)]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(value) for value in adjusted]


def _gains(challenger: ItemScores, champion: ItemScores, groups: NDArray[np.str_]) -> ItemScores:
    """What the challenger gains on the champion in each group, less what it loses."""
    _, group = np.unique(groups, return_inverse=True)
    return np.bincount(group, challenger - champion).astype(np.float64)


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


def _judge_difference(comparison: Comparison, is_newer: bool) -> _Criterion:
    difference, error = measure_difference(comparison)
    figures = (
        f"{_percent(comparison.challenger)} against the champion's {_percent(comparison.champion)} on "
        f"{len(comparison.groups)} images, where one standard error is {100 * error:.1f} points"
    )
    if difference > TOLERATED_ERRORS * error + _ROUNDING:
        return True, f"The challenger is better than the champion by more than one standard error: {figures}."
    if difference < -TOLERATED_ERRORS * error - _ROUNDING:
        return False, f"The challenger is worse than the champion by more than one standard error: {figures}."
    if is_newer:
        return True, f"The challenger is as good as the champion, and its snapshot is newer: {figures}."
    return False, f"The challenger is no better than the champion, and its snapshot is not newer: {figures}."


def _judge_loss(comparison: Comparison) -> _Criterion:
    """Judge a challenger with new classes: among more classes more is mistaken, however good a model is."""
    p_value = loss_p_value(comparison.challenger.items, comparison.champion.items, comparison.groups)
    figures = (
        f"{_percent(comparison.challenger)} against the champion's {_percent(comparison.champion)} on "
        f"{len(comparison.groups)} images, p = {p_value:.2g}"
    )
    if p_value < SIGNIFICANCE:
        return False, f"The challenger knows more classes and is significantly worse at the champion's: {figures}."
    return True, f"The challenger knows more classes and is not significantly worse at the champion's: {figures}."


def _judge_decline(best: BestVersion) -> _Criterion:
    is_close = _is_at_least(best.challenger_figure, best.figure - TOLERATED_DECLINE)
    return is_close, (
        f"The challenger is {'within' if is_close else 'more than'} {100 * TOLERATED_DECLINE:.0f} points "
        f"{'of' if is_close else 'behind'} the best version that ever was in production: "
        f"{best.challenger_figure:.1%}, version {best.version} has {best.figure:.1%}."
    )


def _judge_goodness(comparison: Comparison, floor: Floor) -> _Criterion:
    challenger, champion = comparison.challenger.main, comparison.champion.main
    figures = f"{challenger:.1%}, where {floor.main:.1%} is required"
    if not floor.shortfalls(challenger, {}):
        return True, f"The challenger reaches the floor: {figures}."
    under = f"The challenger is under the floor: {figures}"
    if challenger > champion + _ROUNDING:
        return True, f"{under}, but it beats the champion's {champion:.1%}."
    return False, f"{under}, and it does not beat the champion's {champion:.1%}."


def _judge_class_floors(comparison: Comparison, floor: Floor) -> list[_Criterion]:
    """A class that the champion recognises no better keeps nobody out: the challenger may be better elsewhere."""
    challenger, champion = (_recalls(each) for each in (comparison.challenger, comparison.champion))
    below = {each.label for each in floor.shortfalls(1.0, challenger)}
    return [
        _judge_class_floor(label, challenger[label], champion[label], required, label in below)
        for label, required in sorted(floor.recalls.items())
        if label in challenger
    ]


def _judge_class_floor(label: str, challenger: float, champion: float, required: float, is_below: bool) -> _Criterion:
    figures = f"recall {challenger:.1%}, where {required:.1%} is required"
    if not is_below:
        return True, f"The challenger reaches the floor of {label}: {figures}."
    is_worse = challenger < champion
    return not is_worse, (
        f"The challenger is under the floor of {label}: {figures}, {'and' if is_worse else 'but not'} below the "
        f"champion's {champion:.1%}."
    )


def _recalls(scores: Scores) -> dict[str, float]:
    return {name: float(np.nanmean(scores.classes[name])) for name in sorted(scores.classes)}


def _judge_classes(comparison: Comparison) -> _Criterion:
    challenger, champion = comparison.challenger.classes, comparison.champion.classes
    shown = {name: ~np.isnan(challenger[name]) for name in sorted(challenger)}
    shown = {name: images for name, images in shown.items() if images.sum() >= MINIMUM_CLASS_IMAGES}
    if not shown:
        return True, f"No class has {MINIMUM_CLASS_IMAGES} images: none is judged on its own."
    p_values = [
        loss_p_value(challenger[name][images], champion[name][images], comparison.groups[images])
        for name, images in shown.items()
    ]
    before, after = _recalls(comparison.champion), _recalls(comparison.challenger)
    fallen = [
        f"{name} from {before[name]:.1%} to {after[name]:.1%} (p = {p:.2g})"
        for name, p in zip(shown, holm(p_values), strict=True)
        if p < SIGNIFICANCE
    ]
    if fallen:
        return False, f"Recall fell significantly: {', '.join(fallen)}."
    return True, f"Recall fell significantly in none of the {len(shown)} classes with {MINIMUM_CLASS_IMAGES} images."


def _judge_new_class(label: str, recall: float) -> _Criterion:
    is_known = _is_at_least(recall, NEW_CLASS_RECALL)
    return is_known, (
        f"The new class {label} is {'' if is_known else 'not '}recognised well enough: recall {recall:.1%}, "
        f"where {NEW_CLASS_RECALL:.0%} is required."
    )


def _warn(shortfalls: Sequence[Shortfall]) -> list[str]:
    """Args: shortfalls, of what is in production afterwards."""
    return [
        f"Production stays under the floor{f' of {each.label}' if each.label else ''}: {each.value:.1%}, where "
        f"{each.floor:.1%} is required."
        for each in shortfalls
    ]


def _is_at_least(value: float, bound: float) -> bool:
    return value >= bound - _ROUNDING


def _percent(scores: Scores) -> str:
    return f"{scores.items.mean():.1%}"
