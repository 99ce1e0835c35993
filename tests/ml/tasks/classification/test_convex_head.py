from typing import Any

import numpy as np
import pytest

from ml.confidence.cross_fitting import Division, divide_by_group, log_loss
from ml.deadlines import Deadline
from ml.errors import TrainingError
from ml.tasks.classification.fitting import convex_head
from ml.tasks.classification.fitting.convex_head import ConvexFit, fit_convex_head


def fit(features: np.ndarray, labels: np.ndarray, classes: int = 10, **replaced: Any) -> ConvexFit:
    arguments = {
        "divisions": divide_by_group(labels, [str(row) for row in range(len(labels))]),
        "fitted": np.arange(len(labels)),
        "deadline": Deadline(120.0),
    }
    return fit_convex_head(features[np.newaxis], labels, classes, **{**arguments, **replaced})


def test_a_head_on_random_features_learns_the_digits(training_fold: Any, validation_fold: Any) -> None:
    found = fit(training_fold.features, training_fold.labels)
    accuracy = (found.head.classify(validation_fold.features).argmax(axis=1) == validation_fold.labels).mean()
    cross_fitted = (found.answers.argmax(axis=1) == training_fold.labels).mean()
    assert accuracy > 0.9
    assert cross_fitted == pytest.approx(accuracy, abs=0.06)
    assert found.loss == pytest.approx(log_loss(found.answers, training_fold.labels))


def test_equal_data_gives_equal_heads(training_fold: Any) -> None:
    first, second = (fit(training_fold.features, training_fold.labels) for _ in range(2))
    assert first.head.kernel.tobytes() == second.head.kernel.tobytes()


def test_views_of_an_image_weigh_as_much_as_the_image(training_fold: Any) -> None:
    labels, once = training_fold.labels, training_fold.features[np.newaxis]
    arguments = (labels, 10, divide_by_group(labels, [str(row) for row in range(len(labels))]), np.arange(len(labels)))
    twice = fit_convex_head(np.concatenate([once, once]), *arguments, Deadline(120.0))
    single = fit_convex_head(once, *arguments, Deadline(120.0))
    np.testing.assert_allclose(twice.head.kernel, single.head.kernel, atol=2e-3)


def test_two_classes_and_a_class_without_images_are_fitted() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(80) % 2 * 2  # class 1 of three shows no image
    features = (random.normal(size=(80, 6)) + labels[:, np.newaxis]).astype(np.float32)
    found = fit(features, labels, classes=3)
    probabilities = found.head.classify(features)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.9
    assert probabilities[:, 1].max() < 1e-6


def test_one_class_in_a_fold_is_answered_with_it() -> None:
    labels = np.array([0, 0, 1, 1])
    divisions = [Division(np.array([0]), np.array([1, 2])), Division(np.array([2]), np.array([3, 0]))]
    found = fit(np.eye(4, dtype=np.float32), labels, classes=2, divisions=divisions)
    assert found.answers[1].argmax() == 0
    assert found.answers[3].argmax() == 1
    assert np.isnan(found.answers[[0, 2]]).all()


def test_without_divisions_the_head_is_fitted_all_the_same(training_fold: Any) -> None:
    found = fit(training_fold.features, training_fold.labels, divisions=[])
    assert np.isnan(found.answers).all()
    assert np.isnan(found.loss)
    assert found.strength == convex_head.STRENGTHS[0]
    assert (found.head.classify(training_fold.features).argmax(axis=1) == training_fold.labels).mean() > 0.9


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_damaged_features_are_refused(training_fold: Any, value: float) -> None:
    features = training_fold.features.copy()
    features[3, 5] = value
    with pytest.raises(TrainingError, match="Expected finite features"):
        fit(features, training_fold.labels)


def test_the_strength_with_the_lowest_loss_is_chosen(training_fold: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = {}
    for strength in convex_head.STRENGTHS:
        with monkeypatch.context() as patch:
            patch.setattr(convex_head, "STRENGTHS", (strength,))
            losses[strength] = fit(training_fold.features, training_fold.labels).loss
    found = fit(training_fold.features, training_fold.labels)
    assert losses[found.strength] == min(losses.values()) == found.loss


def test_the_deadline_ends_the_search_and_keeps_what_was_found(
    training_fold: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError, match="MYCOFLOW_TRAINING_BUDGET_MINUTES"):
        fit(training_fold.features, training_fold.labels, deadline=Deadline(0.0))
    remaining = iter([5.0] * 7 + [0.0])  # one strength has five folds
    monkeypatch.setattr(Deadline, "remaining", lambda _self: next(remaining))
    found = fit(training_fold.features, training_fold.labels)
    assert found.strength == convex_head.STRENGTHS[0]
    assert np.isfinite(found.loss)
