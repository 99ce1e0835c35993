"""Stored results and features are found, and computed ones are stored for later requests."""

from collections.abc import Callable

import numpy as np
import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.tables import items, predictions
from ml.deadlines import Deadline
from ml.serving.loaded_model import LoadedModel
from ml.serving.prediction_store import Prediction, PredictionStore

Png = Callable[[int], bytes]


@pytest.fixture
def store(catalog: Catalog, model: LoadedModel, account_id: int) -> PredictionStore:
    return PredictionStore(catalog, model, account_id)


def keep(store: PredictionStore, content: bytes) -> tuple[str, Prediction]:
    decoded = store.model.decode(content, Deadline(60))
    output = store.model.predict(decoded.pixels[np.newaxis])
    answer = output.answers[0]
    return decoded.image.sha256, store.keep(decoded.image, "upload", output.features[0], answer)


def test_an_image_that_nobody_asked_about_is_not_found(store: PredictionStore) -> None:
    assert store.find("0" * 64) is None


def test_what_is_kept_is_found_as_another_prediction(store: PredictionStore, png: Png, catalog: Catalog) -> None:
    sha256, kept = keep(store, png(1))
    found = store.find(sha256)
    assert found is not None
    assert (kept.is_cached, found.is_cached) == (False, True)
    assert found.answer.probabilities == pytest.approx(kept.answer.probabilities)
    with catalog.begin() as connection:
        owners = connection.execute(sa.select(predictions.c.id, predictions.c.account_id)).tuples().all()
    assert dict(owners) == {kept.id: store.account_id, found.id: store.account_id}


def test_another_version_s_answer_comes_from_the_features_and_is_kept(
    store: PredictionStore, png: Png, load_model: Callable[[int], LoadedModel]
) -> None:
    sha256, kept = keep(store, png(1))
    other = PredictionStore(store.catalog, load_model(2), store.account_id)
    first, second = other.find(sha256), other.find(sha256)
    assert first is not None and second is not None
    assert (first.is_cached, second.is_cached) == (False, True)
    assert second.answer.probabilities == pytest.approx(first.answer.probabilities)
    assert second.answer.probabilities != pytest.approx(kept.answer.probabilities)


def test_keeping_twice_keeps_one_result(store: PredictionStore, png: Png) -> None:
    first, second = (keep(store, png(1))[1] for _ in range(2))
    assert (first.is_cached, second.is_cached) == (False, True)


def test_only_what_has_no_place_may_be_harvested(store: PredictionStore, png: Png, catalog: Catalog) -> None:
    sha256, kept = keep(store, png(1))
    with catalog.begin() as connection:
        placed = {
            "split": "pool",
            "class_names": ["boletus"],
            "label_origin": "curated",
            "entered_pool_at": sa.func.now(),
        }
        connection.execute(sa.update(items).values(placed))
    found = store.find(sha256)
    assert found is not None
    assert (kept.may_be_harvested, found.may_be_harvested) == (True, False)
