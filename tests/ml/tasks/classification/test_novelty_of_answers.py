from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.backbones.served_backbone import ServedBackbone
from ml.catalog.answers import Answer
from ml.confidence.cross_fitting import divide_by_group
from ml.deadlines import Deadline
from ml.errors import ModelLoadError
from ml.tasks.card import load_card
from ml.tasks.classification.answer_confidence import AnswerConfidence, fit_confidence
from ml.tasks.classification.bundle import make_card, write_bundle
from ml.tasks.classification.classification_task import TASK
from ml.tasks.classification.classifier import Classifier
from ml.tasks.classification.fitting.convex_head import ConvexFit, fit_convex_head

CLASSES = tuple("0123456789")


@pytest.fixture(scope="module")
def fit(training_fold: Any) -> ConvexFit:
    labels = training_fold.labels
    divisions = divide_by_group(labels, [str(row) for row in range(len(labels))])
    features = training_fold.features[np.newaxis]
    return fit_convex_head(features, labels, 10, divisions, np.arange(len(labels)), Deadline(120.0))


def confide(training_fold: Any, fit: ConvexFit, sees: bool = True) -> AnswerConfidence:
    labels = training_fold.labels
    divisions = divide_by_group(labels, [str(row) for row in range(len(labels))])
    return fit_confidence(training_fold.features, labels, fit.answers, divisions, np.arange(len(labels)), sees)


@pytest.fixture(scope="module")
def version(
    tmp_path_factory: pytest.TempPathFactory,
    backbone: ServedBackbone,
    training_fold: Any,
    fit: ConvexFit,
) -> Path:
    """The files of a version that measures novelty. Shared: do not change it."""
    folder = tmp_path_factory.mktemp("version")
    confidence = confide(training_fold, fit)
    head = fit.head.at_temperature(confidence.temperature)
    card = make_card(backbone, CLASSES, confidence)
    write_bundle(folder, backbone, head, card, training_fold.images[:4], confidence.novelty)
    return folder


def test_the_card_tells_temperature_and_threshold(version: Path) -> None:
    card = load_card(version)
    assert card.temperature != 1
    assert card.calibration_images > 200
    assert card.novelty_threshold is not None
    assert card.novelty_reason.startswith("The threshold calls 5% of ")
    assert "novelty.npz" in card.files


def test_known_images_are_rarely_novel_and_noise_is(version: Path, validation_fold: Any) -> None:
    model = Classifier.load(version)
    known = model.predict(validation_fold.images).answers
    noise = np.random.default_rng(0).integers(0, 256, size=validation_fold.images[:40].shape, dtype=np.uint8)
    assert np.mean([answer.is_novel for answer in known]) < 0.12
    assert np.mean([answer.is_novel for answer in model.predict(noise).answers]) > 0.9


def test_answers_from_features_have_the_same_novelty(version: Path, unseen: Any) -> None:
    model = Classifier.load(version)
    output = model.predict(unseen.images[:5])
    again = model.answer(output.features)
    np.testing.assert_allclose([each.novelty for each in again], [each.novelty for each in output.answers], rtol=1e-3)


def test_the_temperature_calibrates_the_answers(training_fold: Any, fit: ConvexFit) -> None:
    labels, confidence = training_fold.labels, confide(training_fold, fit)
    rows = np.arange(len(labels))
    before, after = (-np.log(each[rows, labels]).mean() for each in (fit.answers, confidence.answers))
    assert after <= before
    assert (fit.answers.argmax(axis=1) == confidence.answers.argmax(axis=1)).all()


def test_random_weights_measure_no_novelty_and_say_so(training_fold: Any, fit: ConvexFit) -> None:
    confidence = confide(training_fold, fit, sees=False)
    assert confidence.novelty is None
    assert confidence.novelty_reason == "Novelty is off: the backbone's weights are random."
    assert confidence.temperature != 1


def test_few_answers_are_not_calibrated(training_fold: Any, fit: ConvexFit) -> None:
    answers = np.full_like(fit.answers, np.nan)
    answers[:29] = fit.answers[:29]
    confidence = confide(training_fold, replace(fit, answers=answers))
    assert (confidence.temperature, confidence.image_count, confidence.novelty) == (1.0, 0, None)


def test_a_version_without_its_file_of_novelty_is_refused(version: Path, tmp_path: Path) -> None:
    for file in version.iterdir():
        if file.name != "novelty.npz":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ModelLoadError, match="measure of novelty"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize(
    ("confidence", "novelty", "harvested"),
    [
        (0.9, None, True),
        (0.9, 0.1, True),
        (0.9, 0.45, True),
        (0.9, 0.46, False),
        (0.7, 0.1, False),
        (0.99, 40.0, False),
    ],
)
def test_a_novel_image_is_not_harvested(confidence: float, novelty: float | None, harvested: bool) -> None:
    answer = Answer("0", confidence, 0.5, np.array([confidence, 1 - confidence], np.float32), novelty)
    assert (TASK.harvest(answer, 0.7) is not None) is harvested
