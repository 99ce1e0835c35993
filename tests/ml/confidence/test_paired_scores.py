"""Two models on the same images. tests/ml/evaluation/test_gate.py has the one-sided test and Holm's correction."""

import numpy as np
import pytest
from scipy.stats import binomtest

from ml.confidence.paired_scores import difference_p_value, loss_p_value, mean_gain


def scores(*right: int) -> np.ndarray:
    return np.array(right, np.float64)


def alone(count: int) -> np.ndarray:
    return np.arange(count).astype(str)


@pytest.mark.parametrize(("lost", "won"), [(9, 1), (1, 9), (3, 3), (1, 0), (0, 12)])
def test_with_an_image_in_each_group_the_two_sided_test_is_mcnemars(lost: int, won: int) -> None:
    one, other = np.repeat([0.0, 1.0, 1.0], [lost, won, 20]), np.repeat([1.0, 0.0, 1.0], [lost, won, 20])
    expected = binomtest(lost, lost + won).pvalue
    assert difference_p_value(one, other, alone(len(one))) == pytest.approx(expected)
    assert difference_p_value(other, one, alone(len(one))) == pytest.approx(expected)


def test_equal_answers_do_not_differ() -> None:
    same = scores(1, 0, 1)
    assert difference_p_value(same, same, alone(3)) == 1
    assert mean_gain(same, same, alone(3)) == (0, 0)


def test_ten_photos_of_one_observation_count_as_one() -> None:
    one, other = np.zeros(10), np.ones(10)
    assert difference_p_value(one, other, alone(10)) == pytest.approx(2 / 2**10)
    assert difference_p_value(one, other, np.repeat("a", 10)) == 1
    assert loss_p_value(one, other, np.repeat("a", 10)) == 0.5
    assert mean_gain(one, other, np.repeat("a", 10))[0] == -1
