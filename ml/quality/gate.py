"""The promotion gate: may the challenger go into production? A pure function whose reasons are words."""

from dataclasses import dataclass
from typing import Literal

TOLERATED_LOSS = 0.02  # a challenger may be this much less accurate: two or three images of a hundred are noise

# Accuracies are counts divided by counts. Any two that differ at all differ by more than this, and a difference that
# only rounding made (0.70 - 0.68 is 0.0200000000000000018) is less.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Scores:
    """What the gate knows of a model.

    Args:
        accuracy: on the deciding part of the evaluation set, 0 to 1.
        image_count: images in it.
    """

    accuracy: float
    image_count: int


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


def judge(challenger: Scores, champion: Scores | None, floor: float) -> Verdict:
    """Decide about a challenger.

    It is promoted when it is at most TOLERATED_LOSS less accurate than the champion, and reaches the floor or beats
    the champion. Where there is no champion it is promoted anyway.

    Args:
        challenger: scored on the same images as the champion.
        champion: the model in production, None where there is none.
        floor: accuracy that production should have, 0 to 1.
    Raises: ValueError, the two were scored on different numbers of images.
    """
    if champion is None:
        reason = f"There is no champion: the first model goes into production, with {_percent(challenger)}."
        return Verdict("promote", [reason], _warn(challenger, floor))
    if champion.image_count != challenger.image_count:
        raise ValueError(
            f"Expected challenger and champion scored on the same images. "
            f"Received: {challenger.image_count} and {champion.image_count} images"
        )
    is_close, closeness = _judge_closeness(challenger, champion)
    is_good, goodness = _judge_goodness(challenger, champion, floor)
    decision: Literal["promote", "keep"] = "promote" if is_close and is_good else "keep"
    return Verdict(decision, [closeness, goodness], _warn(challenger if decision == "promote" else champion, floor))


def _judge_closeness(challenger: Scores, champion: Scores) -> tuple[bool, str]:
    figures = f"{_percent(challenger)} against the champion's {_percent(champion)} on {champion.image_count} images"
    if _is_at_least(challenger.accuracy, champion.accuracy - TOLERATED_LOSS):
        return True, f"The challenger is accurate enough beside the champion: {figures}, at most 2 points less."
    return False, f"The challenger is too far behind the champion: {figures}, more than 2 points less."


def _judge_goodness(challenger: Scores, champion: Scores, floor: float) -> tuple[bool, str]:
    if _is_at_least(challenger.accuracy, floor):
        return True, f"The challenger reaches the floor: {_percent(challenger)}, where {floor:.1%} is required."
    under = f"The challenger is under the floor: {_percent(challenger)}, where {floor:.1%} is required"
    if challenger.accuracy > champion.accuracy + _ROUNDING:
        return True, f"{under}, but it beats the champion's {_percent(champion)}."
    return False, f"{under}, and it does not beat the champion's {_percent(champion)}."


def _warn(in_production: Scores, floor: float) -> list[str]:
    if _is_at_least(in_production.accuracy, floor):
        return []
    return [f"Production stays under the floor: {_percent(in_production)}, where {floor:.1%} is required."]


def _is_at_least(value: float, bound: float) -> bool:
    return value >= bound - _ROUNDING


def _percent(scores: Scores) -> str:
    return f"{scores.accuracy:.1%}"
