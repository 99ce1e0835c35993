import numpy as np
import pytest

from ml.tasks.classification.classification_metrics import ClassMetrics, measure


def test_figures_of_a_small_case_are_right() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 1, 1, 1, 0])
    metrics = measure(labels, predicted, ["a", "b", "c"])
    assert metrics.accuracy == pytest.approx(4 / 6)
    assert metrics.per_class["a"] == ClassMetrics(3, pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert metrics.per_class["b"].precision == pytest.approx(2 / 3)
    assert metrics.per_class["c"] == ClassMetrics(1, 0.0, 0.0, 0.0)
    assert metrics.recall_macro == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metrics.confusion == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert metrics.image_count == 6


def test_a_class_without_images_is_listed_but_counts_in_no_mean() -> None:
    metrics = measure(np.array([0, 1]), np.array([0, 1]), ["a", "b", "never"])
    assert (metrics.precision_macro, metrics.recall_macro, metrics.f1_macro) == (1.0, 1.0, 1.0)
    assert metrics.per_class["never"] == ClassMetrics(0, 0.0, 0.0, 0.0)
    assert metrics.confusion[2] == [0, 0, 0]


@pytest.mark.parametrize(("labels", "predicted"), [([], []), ([0, 1], [0]), ([0, 2], [0, 1]), ([0, 1], [0, -1])])
def test_answers_that_cannot_be_compared_are_refused(labels: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        measure(np.array(labels, dtype=int), np.array(predicted, dtype=int), ["a", "b"])
