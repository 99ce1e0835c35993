"""The promotion gate: decide whether the challenger goes into production, and give the reasons in sentences.

It compares the scores of both models image by image, so that it can tell a real loss from chance. docs/decisions/0074
simulates how often it promotes equally good and worse challengers. All functions are pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.catalog.models.evaluations import Shortfall
from ml.confidence.paired_scores import holm, loss_p_value, mean_gain
from ml.evaluation.floor import Floor
from ml.tasks.task import Scores

SIGNIFICANCE = 0.05  # for all comparisons of classes together
TOLERATED_ERRORS = 1  # a newer model may be this many standard errors of the difference behind the champion
TOLERATED_DECLINE = 0.03  # the challenger may be this far behind the best version that ever was in production
MINIMUM_CLASS_IMAGES = 30  # a class with fewer images is not judged separately
NEW_CLASS_RECALL = 0.5

# Accuracies are quotients of counts. Different accuracies differ by more than this, and rounding errors are smaller:
# 0.70 - 0.68 gives 0.0200000000000000018.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Comparison:
    """The scores of two models on the same images: those of the evaluation set's deciding part with known classes.

    Args:
        challenger, champion: scores of n images, as the task gives them.
        groups: the group of each image, (n,). Photos of one observation are alike, so the tests treat a group as one.
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
    """The version that the challenger is farthest behind today, of all versions that ever were in production.

    Args:
        figure, challenger_figure: the main figure of each on the same images, of classes that both know, 0 to 1.
    """

    version: int
    figure: float
    challenger_figure: float


@dataclass(frozen=True)
class Verdict:
    """The decision of the gate.

    Args:
        decision: `promote` the challenger, or `keep` the version in production.
        reasons: one sentence for each criterion, whether it passed or not.
        warnings: sentences that a person should read, although they did not affect the decision.
    """

    decision: Literal["promote", "keep"]
    reasons: list[str]
    warnings: list[str]


_Criterion = tuple[bool, str]


def judge_first(main_figure: float, shortfalls: Sequence[Shortfall]) -> Verdict:
    """Promote the first model, because there is no champion. If it is below a floor, add a warning.

    Args: main_figure, shortfalls, on the deciding part of the evaluation set; main_figure from 0 to 1.
    """
    reason = f"There is no champion: the first model goes into production, with {main_figure:.1%}."
    return Verdict("promote", [reason], _floor_warnings(shortfalls))


def judge(
    comparison: Comparison,
    is_newer: bool,
    best: BestVersion | None,
    new_class_recalls: Mapping[str, float],
    floor: Floor,
) -> Verdict:
    """Decide whether to promote a challenger. It must pass all these criteria:

    1. It is better than the champion by more than one standard error, or its snapshot is newer and it is not worse by
       more than one standard error. With new classes, it must only not be significantly worse.
    2. It is at most TOLERATED_DECLINE behind the best version that ever was in production.
    3. Its main figure reaches the floor, or beats the champion's.
    4. For each class with a floor, its recall reaches that floor, or is no worse than the champion's.
    5. No class's recall is significantly lower than the champion's.
    6. Its recall of each new class is at least NEW_CLASS_RECALL.

    Args:
        comparison: of challenger and champion.
        is_newer: whether the challenger's snapshot is newer than the champion's.
        best: None if no version that was in production can be scored today.
        new_class_recalls: of the classes that only the challenger knows, 0 to 1.
        floor: the figures that a model in production should reach.
    """
    criteria = [
        _judge_loss(comparison) if new_class_recalls else _judge_difference(comparison, is_newer),
        *([_judge_decline(best)] if best else []),
        _judge_floor(comparison, floor),
        *_judge_class_floors(comparison, floor),
        _judge_classes(comparison),
        *(_judge_new_class(label, recall) for label, recall in sorted(new_class_recalls.items())),
    ]
    is_good = all(passed for passed, _ in criteria)
    in_production = comparison.challenger if is_good else comparison.champion
    reasons = [reason for _, reason in criteria]
    recalls = _recalls(in_production)
    warnings = _floor_warnings(floor.shortfalls(in_production.main, recalls))
    warnings += floor.describe_unmeasured({**recalls, **new_class_recalls})
    return Verdict("promote" if is_good else "keep", reasons, warnings)


def measure_difference(comparison: Comparison) -> tuple[float, float]:
    """Compute how much better the challenger is than the champion, and the standard error of this difference.

    Returns: both as shares of the images; the difference from -1 to 1.
    """
    return mean_gain(comparison.challenger.items, comparison.champion.items, comparison.groups)


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
    """Judge a challenger with new classes. With more classes, even a good model makes more mistakes."""
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


def _judge_floor(comparison: Comparison, floor: Floor) -> _Criterion:
    challenger, champion = comparison.challenger.main, comparison.champion.main
    figures = f"{challenger:.1%}, where {floor.main:.1%} is required"
    if not floor.shortfalls(challenger, {}):
        return True, f"The challenger reaches the floor: {figures}."
    under = f"The challenger is under the floor: {figures}"
    if challenger > champion + _ROUNDING:
        return True, f"{under}, but it beats the champion's {champion:.1%}."
    return False, f"{under}, and it does not beat the champion's {champion:.1%}."


def _judge_class_floors(comparison: Comparison, floor: Floor) -> list[_Criterion]:
    """Judge each class with a floor. A class passes below its floor if the champion recognises it no better."""
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


def _floor_warnings(shortfalls: Sequence[Shortfall]) -> list[str]:
    """Return a warning for each shortfall of the version that will be in production."""
    return [
        f"Production stays under the floor{f' of {each.label}' if each.label else ''}: {each.value:.1%}, where "
        f"{each.floor:.1%} is required."
        for each in shortfalls
    ]


def _is_at_least(value: float, bound: float) -> bool:
    return value >= bound - _ROUNDING


def _percent(scores: Scores) -> str:
    return f"{scores.items.mean():.1%}"
