"""Scoring with the served model: it waits for slots, stops at the deadline, and computes in no transaction."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from ml.backbones.cpus import usable_cpus
from ml.catalog.database import Catalog
from ml.deadlines import Deadline
from ml.errors import BusyError, EvaluationSetError, ScoringUnfinishedError
from ml.ingest.folder import ingest_folder
from ml.serving.admission import AdmissionControl
from ml.serving.loaded_model import LoadedModel
from ml.serving.requested_scoring import score_on_request
from ml.settings import Settings
from ml.tasks.classification.classifier import Classifier
from tests.tiny_model import CLASSES
from tests.transaction_watch import TransactionWatch

IMAGES = 8


@pytest.fixture
def truth(catalog: Catalog, model: LoadedModel, png: Callable[[int], bytes], tmp_path: Path) -> float:
    """Create an evaluation set, and return the model's accuracy on it."""
    right = 0
    for seed in range(IMAGES):
        label = CLASSES[seed % len(CLASSES)]
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{seed}.png").write_bytes(png(seed))
        pixels = model.decode(png(seed), Deadline(60)).pixels
        right += CLASSES[model.predict(pixels[None]).probabilities[0].argmax()] == label
    assert ingest_folder(catalog, tmp_path / "photos", "evaluation").accepted == IMAGES
    return right / IMAGES


def test_the_accuracy_is_that_of_the_answers_and_is_computed_in_no_transaction(
    catalog: Catalog,
    settings: Settings,
    model: LoadedModel,
    truth: float,
    watch: TransactionWatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for verb in ("predict", "classify"):
        monkeypatch.setattr(Classifier, verb, watch.watched(getattr(Classifier, verb)))
    assert score_on_request(catalog, settings, model, AdmissionControl(1), Deadline(60)) == truth
    checks = watch.checks
    assert checks > 0
    assert score_on_request(catalog, settings, model, AdmissionControl(1), Deadline(60)) == truth
    assert watch.checks == checks  # nothing is computed twice
    assert watch.open == []


@pytest.mark.usefixtures("truth")
def test_where_the_time_is_over_the_rest_is_for_the_next_request(
    catalog: Catalog, settings: Settings, model: LoadedModel
) -> None:
    with pytest.raises(ScoringUnfinishedError, match="Ask again"):
        score_on_request(catalog, settings, model, AdmissionControl(1), Deadline(0))
    score_on_request(catalog, settings, model, AdmissionControl(1), Deadline(60))
    score_on_request(catalog, settings, model, AdmissionControl(1), Deadline(0))  # all is scored now


@pytest.mark.usefixtures("truth")
def test_it_waits_for_its_turn_like_a_prediction(catalog: Catalog, settings: Settings, model: LoadedModel) -> None:
    admission = AdmissionControl(1)
    with ExitStack() as others:
        for _ in range(usable_cpus()):
            others.enter_context(admission.computing.enter(Deadline(1)))
        with pytest.raises(BusyError):
            score_on_request(catalog, settings, model, admission, Deadline(0.5))


def test_without_an_evaluation_set_there_is_no_accuracy(
    catalog: Catalog, settings: Settings, model: LoadedModel
) -> None:
    with pytest.raises(EvaluationSetError):
        score_on_request(catalog, settings, model, AdmissionControl(1), Deadline(60))
