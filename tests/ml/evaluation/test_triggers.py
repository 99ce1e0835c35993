from dataclasses import replace

import pytest

from ml.evaluation.floor import Floor
from ml.evaluation.triggers import LastAttempt, Review, reasons_to_retrain

SAME = LastAttempt(is_under_way=False, has_same_parameters=True, has_same_pool=True, images_since=0, age_days=1)


def reasons(
    accuracy: float = 0.9,
    new_images: int = 0,
    last: LastAttempt | None = None,
    floor: float = 0.7,
    age_days: float = 1,
    interval_days: int = 30,
) -> list[str]:
    shortfalls = Floor(floor).shortfalls(accuracy, {})
    return reasons_to_retrain(shortfalls, new_images, 500, Review(age_days, interval_days), last)


def test_a_good_model_with_few_new_images_is_left_alone() -> None:
    assert reasons(accuracy=0.70, new_images=499) == []


def test_retraining_is_requested_when_accuracy_sinks_below_the_floor() -> None:
    assert reasons(accuracy=0.699) == ["Accuracy 69.9% is below the floor of 70.0%."]


def test_retraining_is_requested_at_the_threshold_of_new_images() -> None:
    assert reasons(new_images=500) == ["500 new images reach the threshold of 500."]


def test_both_reasons_are_told() -> None:
    assert len(reasons(accuracy=0.1, new_images=547)) == 2


def test_a_rejected_challenger_is_not_retrained_every_night() -> None:
    assert reasons(accuracy=0.5, new_images=547, last=SAME) == []


def test_a_changed_pool_below_the_floor_asks_again() -> None:
    changed = replace(SAME, has_same_pool=False, images_since=1)
    assert reasons(accuracy=0.5, new_images=548, last=changed) == ["Accuracy 50.0% is below the floor of 70.0%."]


@pytest.mark.parametrize(("images_since", "asks"), [(499, False), (500, True), (501, True)])
def test_five_hundred_images_more_ask_again(images_since: int, asks: bool) -> None:
    last = LastAttempt(
        is_under_way=False, has_same_parameters=True, has_same_pool=False, images_since=images_since, age_days=1
    )
    assert bool(reasons(new_images=600 + images_since, last=last)) is asks


def test_other_parameters_ask_again() -> None:
    other = replace(SAME, has_same_parameters=False)
    assert len(reasons(accuracy=0.5, new_images=547, last=other)) == 2


@pytest.mark.parametrize("has_same_parameters", [True, False])
@pytest.mark.parametrize(("accuracy", "new_images", "age_days"), [(0.5, 0, 1), (0.9, 547, 1), (0.9, 0, 35)])
def test_a_training_of_this_pool_that_is_under_way_is_not_asked_for_again(
    has_same_parameters: bool, accuracy: float, new_images: int, age_days: float
) -> None:
    under_way = replace(SAME, is_under_way=True, has_same_parameters=has_same_parameters, age_days=0.1)
    assert reasons(accuracy, new_images, under_way, age_days=age_days) == []


@pytest.mark.parametrize(("images_since", "asks"), [(499, False), (500, True), (501, True)])
def test_a_training_under_way_on_an_older_pool_settles_what_it_saw(images_since: int, asks: bool) -> None:
    under_way = replace(SAME, is_under_way=True, has_same_pool=False, images_since=images_since)
    assert bool(reasons(new_images=547 + images_since, last=under_way)) is asks


@pytest.mark.parametrize(("age_days", "due"), [(29.9, False), (30, True), (75.2, True)])
def test_a_review_is_due_at_its_interval(age_days: float, due: bool) -> None:
    assert bool(reasons(age_days=age_days)) is due


def test_a_review_says_how_long_nothing_was_trained() -> None:
    assert reasons(age_days=31.2) == ["31 days since the last training; a review is due every 30."]


@pytest.mark.parametrize(("age_days", "due"), [(0.9, False), (1, True)])
def test_an_interval_may_be_a_single_day(age_days: float, due: bool) -> None:
    assert bool(reasons(age_days=age_days, interval_days=1)) is due


def test_an_interval_of_0_turns_the_review_off() -> None:
    assert reasons(age_days=1000, interval_days=0) == []


def test_a_rejected_challenger_settles_the_review_until_the_interval_has_passed_again() -> None:
    rejected = LastAttempt(
        is_under_way=False, has_same_parameters=True, has_same_pool=False, images_since=10, age_days=5
    )
    assert reasons(age_days=35, last=rejected) == []
    assert len(reasons(age_days=61, last=replace(rejected, age_days=31))) == 1


def test_a_review_of_what_did_not_change_is_left_out() -> None:
    assert reasons(age_days=61, last=replace(SAME, age_days=31)) == []
