"""The nightly look at quality without labels, on real predictions of a real model."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from ml.app import Workspace, load_version
from ml.backbones.preprocessing import to_pixels
from ml.catalog.images.feature_vectors import IDENTITY, save_features
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.logs.results import save_prediction, save_result
from ml.catalog.models.drift_checks import latest_drift_check, recent_images
from ml.catalog.tables import drift_checks, feedback, items, predictions
from ml.evaluation import nightly_drift
from ml.evaluation.nightly_drift import check_drift
from ml.ingest.digits import DigitFolders
from ml.ingest.validation import sanitise
from ml.tasks.classification.classifier import Classifier
from tests.transaction_watch import TransactionWatch

Ask = Callable[[list[bytes]], list[int]]


@pytest.fixture
def ask(trained: Workspace) -> Ask:
    """Leaves in the catalog what the service leaves there for a prediction. Gives the predictions' ids."""
    classifier = load_version(trained, 1)
    return lambda contents: [_predict(trained, classifier, content) for content in contents]


def _predict(workspace: Workspace, classifier: Classifier, content: bytes) -> int:
    image = sanitise(content)
    output = classifier.predict(to_pixels(image.content, classifier.card.image_size)[np.newaxis])
    with workspace.catalog.begin() as connection:
        add_predicted(connection, ItemRecord("upload", image.record))
        save_features(connection, {(image.sha256, IDENTITY): output.features[0]}, classifier.card.backbone_id)
        result_id = save_result(connection, image.sha256, 1, output.answers[0]).id
        return save_prediction(connection, result_id, None, False)


def read(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted(folder.rglob("*.png"))]


def turn(content: bytes) -> bytes:
    turned = BytesIO()
    Image.open(BytesIO(content)).rotate(45, Image.Resampling.BILINEAR).save(turned, "PNG")
    return turned.getvalue()


def test_new_digits_like_the_old_ones_are_quiet_and_turned_ones_are_not(
    trained: Workspace, few_digits: DigitFolders, ask: Ask
) -> None:
    photos = read(few_digits.later)
    ask(photos)
    quiet = check_drift(trained, 1)
    assert quiet.moved == []
    assert quiet.estimated_accuracy == pytest.approx(1, abs=0.1)
    assert (quiet.recent_images, quiet.recent_features) == (len(photos), len(photos))
    assert quiet.calibration_images == 60
    assert quiet.reference_images == quiet.reference_features >= 30

    ask([turn(photo) for photo in photos])
    drifted = check_drift(trained, 1)
    assert "features" in drifted.moved
    assert drifted.feature_mmd is not None
    assert quiet.feature_mmd is not None
    assert drifted.feature_mmd > quiet.feature_mmd
    with trained.catalog.begin() as connection:
        assert latest_drift_check(connection, 1) == drifted
        assert connection.scalar(sa.select(sa.func.count()).select_from(drift_checks)) == 1  # one a night


def test_another_night_adds_a_row(trained: Workspace) -> None:
    check_drift(trained, 1)
    with trained.catalog.begin() as connection:
        connection.execute(sa.update(drift_checks).values(night=drift_checks.c.night - 1))
    latest = check_drift(trained, 1)
    with trained.catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(drift_checks)) == 2
        assert latest_drift_check(connection, 1) == latest


def test_answers_are_computed_and_samples_compared_in_no_transaction(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = TransactionWatch(trained.catalog)
    for verb in ("predict", "classify"):
        monkeypatch.setattr(Classifier, verb, watch.watched(getattr(Classifier, verb)))
    for slow in ("_estimate", "measure_drift"):
        monkeypatch.setattr(nightly_drift, slow, watch.watched(getattr(nightly_drift, slow)))
    check_drift(trained, 1)
    assert watch.checks >= 2
    assert watch.open == []


def test_nothing_asked_yet_gives_sample_sizes_and_no_scores(trained: Workspace) -> None:
    check = check_drift(trained, 1)
    assert (check.recent_images, check.feedback_images, check.moved) == (0, 0, [])
    assert check.calibration_images == 60
    scores = (check.confidence_psi, check.class_psi, check.feature_mmd, check.estimated_accuracy)
    assert scores == (None, None, None, None)
    assert check.observed_accuracy is None


def test_feedback_counts_once_an_image_and_its_latest_word_holds(
    trained: Workspace, few_digits: DigitFolders, ask: Ask
) -> None:
    ids = ask(read(few_digits.later)[:10])
    words = [(prediction_id, "ok") for prediction_id in ids] + [(ids[0], "nok"), (ids[1], "nok"), (ids[0], "ok")]
    with trained.catalog.begin() as connection:
        rows = [{"prediction_id": prediction_id, "verdict": verdict} for prediction_id, verdict in words]
        connection.execute(sa.insert(feedback), rows)
    check = check_drift(trained, 1)
    assert (check.feedback_images, check.observed_accuracy) == (10, pytest.approx(0.9))
    assert check.observed_accuracy_low == pytest.approx(0.596, abs=1e-3)
    assert check.observed_accuracy_high == pytest.approx(0.982, abs=1e-3)


def test_one_image_of_each_group_counts_and_repeated_requests_do_not(
    trained: Workspace, few_digits: DigitFolders, ask: Ask
) -> None:
    ask(read(few_digits.later)[:6])
    with trained.catalog.begin() as connection:
        asked = recent_images(connection, 1, 500)
        connection.execute(sa.update(items).where(items.c.id.in_(asked[:3])).values(group_key="one mushroom"))
        first = connection.execute(sa.select(predictions.c.result_id).limit(1)).scalar_one()
        save_prediction(connection, first, None, True)
        assert len(recent_images(connection, 1, 500)) == 4
        assert len(recent_images(connection, 2, 500)) == 0
