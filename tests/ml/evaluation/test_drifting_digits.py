"""Drift as it happens: digits that are turned or darkened, seen by a real backbone and a trained head."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ml.backbones.onnx_runtime import OnnxBackbone
from ml.confidence.calibration import fit_temperature
from ml.confidence.estimation import estimate_accuracy
from ml.evaluation.drift import DriftScores, Sample, measure_drift
from ml.tasks.classification.fitting.head_training import TrainedHead

DRAWS = 150
REFERENCE, RECENT = 100, 150

Change = Callable[[np.ndarray], np.ndarray]


def turn(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).rotate(30, Image.Resampling.BILINEAR))


def darken(image: np.ndarray) -> np.ndarray:
    return (image * 0.5).astype(np.uint8)


def leave(image: np.ndarray) -> np.ndarray:
    return image


@pytest.fixture(scope="module")
def look(backbone_onnx: bytes, head: TrainedHead) -> Callable[[np.ndarray, Change], Sample]:
    """What the model says of images after a change."""
    backbone = OnnxBackbone(backbone_onnx)

    def look_at(images: np.ndarray, change: Change) -> Sample:
        features = backbone.features(np.stack([change(image) for image in images]))
        shares = head.classify(features)
        return Sample(shares.max(axis=1), shares.argmax(axis=1).astype(str), features)

    return look_at


@pytest.fixture(scope="module")
def classify(look: Callable[[np.ndarray, Change], Sample], head: TrainedHead) -> Callable[..., np.ndarray]:
    """The probabilities of images after a change."""
    return lambda images, change: head.classify(look(images, change).features)


def part_of(sample: Sample, rows: np.ndarray) -> Sample:
    return Sample(sample.confidences[rows], sample.top_classes[rows], sample.features[rows])


def drift(reference: Sample, recent: Sample) -> DriftScores:
    found = measure_drift(reference, recent)
    assert found is not None
    return found


@pytest.mark.parametrize("change", [turn, darken])
def test_scores_rise_when_digits_drift(
    digit_images: Any, look: Callable[[np.ndarray, Change], Sample], change: Change
) -> None:
    # Mixed: the data set's order follows its writers, and the next writer is a drift of its own.
    unseen = digit_images.images[300:600][np.random.default_rng(0).permutation(300)]
    reference, recent = unseen[:REFERENCE], unseen[REFERENCE:]
    quiet = drift(look(reference, leave), look(recent, leave))
    moved = drift(look(reference, leave), look(recent, change))
    assert quiet.moved == []
    assert "features" in moved.moved
    assert quiet.features is not None
    assert moved.features is not None
    assert moved.features.score > 5 * abs(quiet.features.score)
    assert moved.confidence.score > quiet.confidence.score


def test_digits_that_do_not_drift_raise_a_false_alarm_in_about_one_night_of_a_hundred(
    digit_images: Any, look: Callable[[np.ndarray, Change], Sample]
) -> None:
    unseen = look(digit_images.images[300:600], leave)
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(DRAWS):
        order = random.permutation(len(unseen.features))
        parts = order[:REFERENCE], order[REFERENCE : REFERENCE + RECENT]
        alarms += bool(drift(*(part_of(unseen, rows) for rows in parts)).moved)
    assert alarms <= 5  # more than that has a probability of 0.4 % where the rate is the promised 1 %


def test_the_estimated_accuracy_is_near_the_real_one_and_sinks_with_it(
    digit_images: Any, classify: Callable[..., np.ndarray]
) -> None:
    temperature = fit_temperature(classify(digit_images.images[300:400], leave), digit_images.labels[300:400])
    recent, labels = digit_images.images[400:600], digit_images.labels[400:600]
    plain, turned = classify(recent, leave), classify(recent, turn)
    accuracy = (plain.argmax(axis=1) == labels).mean()
    assert estimate_accuracy(plain, temperature) == pytest.approx(accuracy, abs=0.07)
    assert estimate_accuracy(turned, temperature) < estimate_accuracy(plain, temperature) - 0.05
