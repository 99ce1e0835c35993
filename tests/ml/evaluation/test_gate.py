from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from ml.confidence.paired_scores import holm, loss_p_value
from ml.evaluation.floor import Floor
from ml.evaluation.gate import (
    BestVersion,
    Comparison,
    Verdict,
    judge,
    judge_first,
    measure_difference,
)
from ml.tasks.task import Scores

FLOOR = Floor(0.70)


def compare(both: int, lost: int, won: int, neither: int, classes: int = 1) -> Comparison:
    """Images that both get right, only the champion, only the challenger, and neither, dealt to classes in turn."""
    champion = np.repeat([True, True, False, False], [both, lost, won, neither])
    challenger = np.repeat([True, False, True, False], [both, lost, won, neither])
    labels = np.array([f"class {number % classes}" for number in range(len(champion))])
    return alone(labels, challenger, champion)


def alone(labels: np.ndarray, challenger: np.ndarray, champion: np.ndarray) -> Comparison:
    """Each image in a group of its own."""
    return compared(labels, challenger, champion, np.arange(len(labels)).astype(str))


def compared(labels: np.ndarray, challenger: np.ndarray, champion: np.ndarray, groups: np.ndarray) -> Comparison:
    """Right and wrong answers to images of one class each."""
    return Comparison(*(Scores.of_labels(labels, right.astype(float)) for right in (challenger, champion)), groups)


def verdict(
    comparison: Comparison,
    best: BestVersion | None = None,
    new: Mapping[str, float] | None = None,
    is_newer: bool = True,
    floor: Floor = FLOOR,
) -> Verdict:
    return judge(comparison, is_newer, best, new or {}, floor)


@pytest.mark.parametrize(
    ("both", "lost", "won", "neither", "decision"),
    [
        (400, 0, 50, 50, "promote"),  # better
        (400, 20, 20, 60, "promote"),  # as good
        (400, 10, 6, 84, "promote"),  # worse by four images, which is one standard error
        (400, 11, 6, 83, "keep"),  # by five, where one is 4.1
        (400, 30, 10, 60, "keep"),
        (400, 1, 0, 99, "promote"),  # a single image says nothing
        (400, 2, 0, 98, "keep"),
        (350, 0, 0, 150, "promote"),  # the same answers, exactly at the floor
        (349, 0, 0, 151, "keep"),  # under the floor, and no better
        (300, 3, 5, 192, "promote"),  # under the floor, but better
        (500, 0, 0, 0, "promote"),
    ],
)
def test_a_newer_challenger_may_lose_one_standard_error_and_must_reach_the_floor_or_beat_the_champion(
    both: int, lost: int, won: int, neither: int, decision: str
) -> None:
    assert verdict(compare(both, lost, won, neither)).decision == decision


@pytest.mark.parametrize(
    ("lost", "won", "decision"),
    [
        (20, 20, "keep"),
        (6, 10, "keep"),  # better by one standard error
        (6, 11, "promote"),  # by more than one
        (0, 1, "keep"),
        (0, 2, "promote"),
        (0, 0, "keep"),
    ],
)
def test_a_challenger_of_a_snapshot_that_is_not_newer_must_be_better_by_more_than_one_standard_error(
    lost: int, won: int, decision: str
) -> None:
    assert verdict(compare(400, lost, won, 100 - lost - won), is_newer=False).decision == decision


@pytest.mark.parametrize("seed", range(20))
def test_whether_one_standard_error_is_passed_is_what_the_estimate_around_the_mean_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    champion, challenger = random.random((2, 300)) < 0.8
    groups = random.integers(0, 120, 300).astype(str)
    difference, _ = measure_difference(compared(groups, challenger, champion, groups))
    sums = np.array([(challenger[groups == each].sum() - champion[groups == each].sum()) for each in np.unique(groups)])
    around_the_mean = np.sqrt(len(sums) / (len(sums) - 1) * ((sums - sums.mean()) ** 2).sum()) / 300
    assert difference == pytest.approx((challenger.sum() - champion.sum()) / 300)
    _, error = measure_difference(compared(groups, challenger, champion, groups))
    assert (abs(difference) > error) == (abs(difference) > around_the_mean)
    assert error == pytest.approx(np.sqrt((sums**2).sum()) / 300)


def test_photos_of_one_observation_make_the_standard_error_larger() -> None:
    comparison = compare(400, 8, 0, 92)
    assert measure_difference(comparison) == pytest.approx((-8 / 500, np.sqrt(8) / 500))
    groups = comparison.groups.copy()
    groups[400:408] = "one observation"
    assert measure_difference(replace(comparison, groups=groups)) == pytest.approx((-8 / 500, 8 / 500))
    assert measure_difference(replace(comparison, groups=np.full(500, "all")))[1] == pytest.approx(8 / 500)


def test_the_p_value_is_that_of_the_exact_test() -> None:
    comparison = compare(10, 5, 1, 3)
    p_value = loss_p_value(comparison.challenger.items, comparison.champion.items, comparison.groups)
    assert p_value == pytest.approx((6 + 1) / 2**6)
    assert loss_p_value(np.array([1.0]), np.array([1.0]), np.array(["a"])) == 1


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (3, 1), (1, 3), (12, 12), (200, 150)])
def test_the_p_value_of_images_in_groups_of_their_own_is_mcnemars(lost: int, won: int) -> None:
    comparison = compare(10, lost, won, 3)
    expected = binomtest(lost, lost + won, 0.5, alternative="greater").pvalue if lost + won else 1
    p_value = loss_p_value(comparison.challenger.items, comparison.champion.items, comparison.groups)
    assert p_value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("lost", [0.25, 0.75])
def test_answers_that_are_partly_right_are_compared_by_permutations(lost: float) -> None:
    names = np.array(["a", "b", "c"])
    assert loss_p_value(np.full(3, 1 - lost), np.ones(3), names) == pytest.approx(1 / 2**3)


def test_photos_of_one_observation_are_one_piece_of_luck() -> None:
    comparison = compare(400, 8, 0, 92)
    assert verdict(comparison).decision == "keep"
    groups = comparison.groups.copy()
    groups[400:408] = "one observation"
    assert verdict(replace(comparison, groups=groups)).decision == "promote"
    groups[400:408] = np.repeat(["one", "another"], [5, 3])
    p_value = loss_p_value(comparison.challenger.items, comparison.champion.items, groups)
    assert p_value == pytest.approx(1 / 4)  # both against the challenger


@pytest.mark.parametrize(("accuracy", "decision"), [(0.87, "promote"), (0.871, "keep"), (0.80, "promote")])
def test_a_slow_ratchet_downwards_ends_three_points_below_the_best(accuracy: float, decision: str) -> None:
    judged = verdict(compare(420, 0, 0, 80), BestVersion(3, accuracy, 0.84))
    assert judged.decision == decision
    assert "version 3" in judged.reasons[1]


def test_a_class_whose_recall_fell_significantly_keeps_the_challenger_out() -> None:
    labels = np.repeat(["chanterelle", "death cap"], [460, 40])
    champion = np.repeat([True], 500)
    challenger = champion.copy()
    champion[:30] = False  # what the challenger wins elsewhere
    challenger[460:468] = False  # eight death caps
    judged = verdict(alone(labels, challenger, champion))
    assert judged.decision == "keep"
    assert judged.reasons[-1] == "Recall fell significantly: death cap from 100.0% to 80.0% (p = 0.0078)."


@pytest.mark.parametrize(("images", "decision"), [(30, "keep"), (29, "promote")])
def test_a_class_of_few_images_is_not_judged_on_its_own(images: int, decision: str) -> None:
    labels = np.repeat(["chanterelle", "death cap"], [500 - images, images])
    champion = np.repeat([True], 500)
    challenger = champion.copy()
    champion[:30] = False
    challenger[-8:] = False
    assert verdict(alone(labels, challenger, champion)).decision == decision
    few = verdict(compare(20, 0, 0, 0))
    assert few.decision == "promote"
    assert few.reasons[-1] == "No class has 30 images: none is judged on its own."


@pytest.mark.parametrize("fallen", [0, 1, 2])
def test_the_class_that_fell_is_found_among_several_that_rose(fallen: int) -> None:
    names = ["amanita", "boletus", "cantharellus"]
    labels = np.repeat(names, 100)
    champion, challenger = np.full(300, True), np.full(300, True)
    for number in range(3):
        worse = challenger if number == fallen else champion
        worse[100 * number : 100 * number + 12] = False
    judged = verdict(alone(labels, challenger, champion))
    assert judged.decision == "keep"
    assert judged.reasons[-1] == f"Recall fell significantly: {names[fallen]} from 100.0% to 88.0% (p = 0.00073)."


@pytest.mark.parametrize("low", [0, 1, 2])
def test_the_floor_of_a_class_is_compared_with_the_recall_of_that_class_alone(low: int) -> None:
    names = ["amanita", "boletus", "cantharellus"]
    labels = np.repeat(names, 100)
    right = np.full(300, True)
    right[100 * low : 100 * low + 40] = False
    judged = verdict(alone(labels, right, right), floor=Floor(0.7, dict.fromkeys(names, 0.9)))
    told = [each.split(": ")[1] for each in judged.reasons if " floor of " in each]
    assert [each.split(",")[0] for each in told] == [
        "recall 60.0%" if number == low else "recall 100.0%" for number in range(3)
    ]
    assert judged.warnings == [f"Production stays under the floor of {names[low]}: 60.0%, where 90.0% is required."]


def test_holm_multiplies_the_smallest_p_value_by_their_number_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.04, 0.01]) == pytest.approx([0.04, 0.02])
    assert holm([0.01, 0.015, 0.02, 0.07, 0.001]) == pytest.approx([0.04, 0.045, 0.045, 0.07, 0.005])
    assert holm([0.9, 0.5]) == pytest.approx([1, 1])
    assert holm([0.9, 0.8, 0.7]) == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(("recall", "decision"), [(0.5, "promote"), (0.49, "keep"), (1.0, "promote")])
def test_a_new_class_must_be_recognised_half_of_the_time(recall: float, decision: str) -> None:
    judged = verdict(compare(450, 0, 0, 50), new={"morel": recall})
    assert judged.decision == decision
    assert judged.reasons[-1].startswith("The new class morel is ")


@pytest.mark.parametrize(("lost", "decision"), [(4, "promote"), (5, "keep")])  # p = 0.0625 and 0.031
def test_a_challenger_with_new_classes_may_lose_more_than_one_standard_error_but_not_significantly(
    lost: int, decision: str
) -> None:
    comparison = compare(400, lost, 0, 100 - lost)
    assert verdict(comparison).decision == "keep"
    assert verdict(comparison, new={"morel": 1.0}).decision == decision
    in_small_classes = compare(400, lost, 0, 100 - lost, classes=20)  # too small to be judged on their own
    assert verdict(in_small_classes, new={"morel": 1.0}).decision == decision


def test_without_a_champion_the_first_model_is_promoted() -> None:
    first = judge_first(0.93, FLOOR.shortfalls(0.93, {}))
    assert first.decision == "promote"
    assert first.reasons == ["There is no champion: the first model goes into production, with 93.0%."]
    assert first.warnings == []


def test_a_first_model_under_the_floor_is_promoted_with_a_warning() -> None:
    first = judge_first(0.45, FLOOR.shortfalls(0.45, {}))
    assert first.decision == "promote"
    assert first.warnings == ["Production stays under the floor: 45.0%, where 70.0% is required."]


@pytest.mark.parametrize(
    ("right", "decision", "reason"),
    [
        ((80, 60), "promote", "The challenger reaches the floor of amanita: recall 80.0%, where 80.0% is required."),
        ((70, 60), "promote", "recall 70.0%, where 80.0% is required, but not below the champion's 60.0%."),
        ((70, 70), "promote", "recall 70.0%, where 80.0% is required, but not below the champion's 70.0%."),
        ((79, 80), "keep", "recall 79.0%, where 80.0% is required, and below the champion's 80.0%."),
    ],
)
def test_a_class_with_a_floor_of_its_own_must_reach_it_or_be_no_worse_than_before(
    right: tuple[int, int], decision: str, reason: str
) -> None:
    labels = np.repeat(["amanita", "boletus"], [100, 400])
    challenger, champion = (np.concatenate([np.arange(100) < count, np.full(400, True)]) for count in right)
    challenger[400:410], champion[400:420] = False, False  # the challenger is better elsewhere
    judged = verdict(alone(labels, challenger, champion), floor=Floor(0.7, {"amanita": 0.8, "boletus": 0.5}))
    assert judged.decision == decision
    assert any(each.endswith(reason) for each in judged.reasons)
    assert any(each.startswith("The challenger reaches the floor of boletus") for each in judged.reasons)
    stays = [f"Production stays under the floor of amanita: {right[0]}.0%, where 80.0% is required."]
    assert judged.warnings == (stays if right[0] < 80 and decision == "promote" else [])


def test_a_floor_of_a_class_that_is_not_compared_is_told() -> None:
    judged = verdict(compare(450, 0, 0, 50), new={"morel": 0.9}, floor=Floor(0.7, {"morel": 0.8, "amanita": 0.8}))
    (warning,) = judged.warnings
    assert warning.startswith("MYCOFLOW_CLASS_FLOORS names amanita: the model does not know such a class")


def test_each_criterion_gives_its_reason_with_figures() -> None:
    kept = verdict(compare(280, 50, 20, 150), BestVersion(1, 0.66, 0.60), {"morel": 0.2})
    assert kept.reasons == [
        "The challenger knows more classes and is significantly worse at the champion's: "
        "60.0% against the champion's 66.0% on 500 images, p = 0.00022.",
        "The challenger is more than 3 points behind the best version that ever was in production: "
        "60.0%, version 1 has 66.0%.",
        "The challenger is under the floor: 60.0%, where 70.0% is required, and it does not beat the champion's 66.0%.",
        "Recall fell significantly: class 0 from 66.0% to 60.0% (p = 0.00022).",
        "The new class morel is not recognised well enough: recall 20.0%, where 50% is required.",
    ]
    assert kept.warnings == ["Production stays under the floor: 66.0%, where 70.0% is required."]


@pytest.mark.parametrize(
    ("lost", "won", "is_newer", "reason"),
    [
        (10, 40, False, "The challenger is better than the champion by more than one standard error: 88.0% against"),
        (20, 20, True, "The challenger is as good as the champion, and its snapshot is newer: 84.0% against"),
        (20, 20, False, "The challenger is no better than the champion, and its snapshot is not newer: 84.0% against"),
        (40, 10, True, "The challenger is worse than the champion by more than one standard error: 82.0% against"),
    ],
)
def test_the_first_reason_says_how_the_two_stand(lost: int, won: int, is_newer: bool, reason: str) -> None:
    judged = verdict(compare(400, lost, won, 100 - lost - won), is_newer=is_newer)
    assert judged.reasons[0].startswith(reason)


@pytest.mark.parametrize(("images", "points"), [(20, "10.0"), (400, "0.5")])
def test_the_first_reason_gives_the_standard_error_in_points(images: int, points: str) -> None:
    judged = verdict(compare(images - 4, 2, 2, 0))
    assert judged.reasons[0].endswith(f" on {images} images, where one standard error is {points} points.")


def test_answers_to_different_images_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same images"):
        Comparison(Scores(1.0, np.ones(1)), Scores(0.5, np.array([1.0, 0.0])), np.array(["1", "2"]))
    with pytest.raises(ValueError, match="same images"):
        Comparison(Scores(1.0, np.ones((1, 1))), Scores(1.0, np.ones((1, 1))), np.array([["1"]]))
    with pytest.raises(ValueError, match="one or more"):
        Comparison(Scores(0.0, np.array([])), Scores(0.0, np.array([])), np.array([]))


def test_scores_between_right_and_wrong_are_compared_by_permutation() -> None:
    random = np.random.default_rng(0)
    champion = random.random(80)
    worse, alike = np.clip(champion - 0.05, 0, 1), np.clip(champion + random.normal(0, 0.05, 80), 0, 1)
    groups = np.arange(80).astype(str)
    assert loss_p_value(worse, champion, groups) < 0.001
    assert 0.01 < loss_p_value(alike, champion, groups) < 0.99
    assert loss_p_value(worse, champion, groups) == loss_p_value(worse, champion, groups)
    halves = np.array([0.5, 0.0, 0.5, 0.5]), np.array([1.0, 1.0, 0.5, 0.5])
    assert loss_p_value(*halves, np.arange(4).astype(str)) == pytest.approx(
        1 / 4
    )  # both signs turned: one of four ways


def test_a_class_is_judged_by_the_images_that_show_it() -> None:
    """Images may show several classes: what is found of one says nothing of the others."""
    found, lost = np.ones(60), np.repeat([0.0, 1.0], [20, 40])
    both, groups = np.ones(60), np.arange(60).astype(str)
    champion = Scores(1.0, both, {"cap": found, "gill": np.where(np.arange(60) < 35, found, np.nan)})
    challenger = Scores(1.0, both, {"cap": found, "gill": np.where(np.arange(60) < 35, lost, np.nan)})
    judged = verdict(Comparison(challenger, champion, groups))
    assert judged.decision == "keep"
    assert any("Recall fell significantly: gill from 100.0% to 42.9%" in reason for reason in judged.reasons)


def test_the_floor_is_that_of_the_main_figure_and_not_of_the_mean_score() -> None:
    low, high = (Scores(main, np.full(40, 0.9)) for main in (0.6, 0.65))
    judged = verdict(Comparison(low, high, np.arange(40).astype(str)))
    assert judged.decision == "keep"
    assert any("under the floor: 60.0%" in reason for reason in judged.reasons)
