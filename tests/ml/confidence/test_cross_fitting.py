import numpy as np
import pytest

from ml.confidence.cross_fitting import FOLDS, Division, cross_fit, divide_by_group, is_answered, log_loss


def test_no_group_is_on_both_sides_and_each_image_is_answered_once() -> None:
    random = np.random.default_rng(0)
    groups = [str(each) for each in random.integers(60, size=200)]
    labels = random.integers(4, size=200)
    divisions = divide_by_group(labels, groups)
    assert len(divisions) == FOLDS
    for division in divisions:
        assert not {groups[row] for row in division.fitted} & {groups[row] for row in division.answered}
    assert sorted(np.concatenate([each.answered for each in divisions])) == list(range(200))


def test_the_same_images_are_divided_in_the_same_way() -> None:
    labels, groups = np.arange(40) % 2, [f"group {row // 2}" for row in range(40)]
    first, second = divide_by_group(labels, groups), divide_by_group(labels, groups)
    assert all((one.answered == other.answered).all() for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize(("groups", "folds"), [(["a"] * 6, 0), (["a", "b"] * 3, 2), (list("abcdef"), 3)])
def test_few_groups_or_images_of_a_class_make_fewer_folds(groups: list[str], folds: int) -> None:
    assert len(divide_by_group(np.arange(6) % 2, groups)) == folds


def test_an_image_whose_class_no_other_group_shows_has_no_answer() -> None:
    labels = np.array([0, 0, 0, 0, 1])
    divisions = [Division(np.array([0, 1]), np.array([2, 3, 4])), Division(np.array([2, 3, 4]), np.array([0, 1]))]
    answers = cross_fit(5, labels, 2, divisions, lambda each: np.full((len(each.answered), 2), 0.5, np.float32))
    assert is_answered(answers).tolist() == [True, True, True, True, False]


def test_the_loss_is_the_mean_over_the_answered_images() -> None:
    answers = np.array([[0.5, 0.5], [np.nan, np.nan], [0.1, 0.9]], np.float32)
    assert log_loss(answers, np.array([0, 0, 1])) == pytest.approx(-(np.log(0.5) + np.log(0.9)) / 2)
    assert np.isnan(log_loss(answers[1:2], np.array([0])))
