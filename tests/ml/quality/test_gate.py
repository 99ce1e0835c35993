import pytest

from ml.quality.gate import Scores, Verdict, judge

FLOOR = 0.70


def verdict(challenger: float, champion: float | None, image_count: int = 500) -> Verdict:
    theirs = None if champion is None else Scores(champion, image_count)
    return judge(Scores(challenger, image_count), theirs, FLOOR)


@pytest.mark.parametrize(
    ("challenger", "champion", "decision"),
    [
        (0.90, 0.80, "promote"),  # better
        (0.80, 0.80, "promote"),  # as good, over the floor
        (0.78, 0.80, "promote"),  # exactly 2 points behind
        (0.779, 0.80, "keep"),
        (0.778, 0.80, "keep"),
        (0.70, 0.72, "promote"),  # 0.72 - 0.70 is more than 0.02 in floating point
        (0.70, 0.70, "promote"),  # exactly at the floor
        (0.698, 0.70, "keep"),  # close enough, but under the floor and no better
        (0.60, 0.58, "promote"),  # under the floor, but better
        (0.60, 0.60, "keep"),
        (0.59, 0.60, "keep"),
        (1.0, 1.0, "promote"),
    ],
)
def test_a_challenger_must_be_close_to_the_champion_and_reach_the_floor_or_beat_it(
    challenger: float, champion: float, decision: str
) -> None:
    assert verdict(challenger, champion).decision == decision


def test_every_boundary_on_a_real_evaluation_set_is_exact() -> None:
    count = 250
    for champion in range(200, count + 1):
        assert verdict((champion - 5) / count, champion / count, count).decision == "promote"
        assert verdict((champion - 6) / count, champion / count, count).decision == "keep"


def test_without_a_champion_the_first_model_is_promoted() -> None:
    first = verdict(0.93, None)
    assert first.decision == "promote"
    assert first.reasons == ["There is no champion: the first model goes into production, with 93.0%."]
    assert first.warnings == []


def test_a_first_model_under_the_floor_is_promoted_with_a_warning() -> None:
    first = verdict(0.45, None)
    assert first.decision == "promote"
    assert first.warnings == ["Production stays under the floor: 45.0%, where 70.0% is required."]


def test_each_criterion_gives_its_reason_with_figures() -> None:
    kept = verdict(0.60, 0.66)
    assert len(kept.reasons) == 2
    assert "60.0% against the champion's 66.0% on 500 images, more than 2 points less" in kept.reasons[0]
    assert "under the floor: 60.0%, where 70.0% is required, and it does not beat" in kept.reasons[1]
    assert kept.warnings == ["Production stays under the floor: 66.0%, where 70.0% is required."]


def test_scores_of_different_evaluation_sets_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same images"):
        judge(Scores(0.8, 500), Scores(0.8, 499), FLOOR)
