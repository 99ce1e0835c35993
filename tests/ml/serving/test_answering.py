"""A prediction from bytes to the stored answer, without HTTP."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.database import Catalog
from ml.catalog.logs.results import find_result
from ml.catalog.tables import images, predictions
from ml.data.copies import near_copies
from ml.data.copies.image_statistics import measure
from ml.deadlines import Deadline
from ml.errors import BusyError, InvalidImageError, QuotaError
from ml.ingest.validation import sanitise
from ml.serving import loaded_model
from ml.serving.answering import Predictor, Stage
from ml.serving.loaded_model import LoadedModel
from ml.tasks.classification.classifier import Classifier
from ml.upkeep.erasing import erase_photo
from tests.transaction_watch import TransactionWatch

Png = Callable[[int], bytes]


def count(catalog: Catalog, table: sa.Table) -> int:
    with catalog.begin() as connection:
        found: int = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        return found


def test_an_image_is_computed_once_and_each_request_is_noted(
    predictor: Predictor, png: Png, catalog: Catalog, stages: list[Stage]
) -> None:
    first = predictor.predict_upload(png(1))
    assert stages == ["decode", "inference", "store"]
    second = predictor.predict_upload(png(1))
    assert stages == ["decode", "inference", "store"]
    assert (first.is_cached, second.is_cached, second.id > first.id) == (False, True, True)
    assert second.answer.probabilities == pytest.approx(first.answer.probabilities)
    assert (count(catalog, images), count(catalog, predictions)) == (1, 2)


def test_a_version_with_the_same_backbone_answers_from_the_features(
    predictor: Predictor, load_model: Callable[[int], LoadedModel], png: Png, stages: list[Stage]
) -> None:
    predictor.predict_upload(png(1))
    stages.clear()
    other = replace(predictor, model=load_model(2))
    found = other.predict_upload(png(1))
    assert stages == []
    expected = other.model.predict(other.model.decode(png(1), Deadline(60)).pixels[None]).probabilities[0]
    assert found.answer.probabilities == pytest.approx(expected, abs=1e-5)


def test_requests_for_one_image_at_the_same_moment_compute_it_once(
    predictor: Predictor, png: Png, stages: list[Stage]
) -> None:
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: predictor.predict_upload(png(1)), range(2)))
    assert stages.count("inference") == 1
    assert sorted(each.is_cached for each in found) == [False, True]


def test_where_all_places_are_taken_only_what_is_known_is_answered(predictor: Predictor, png: Png) -> None:
    predictor.predict_upload(png(1))
    with predictor.admission.admit(), predictor.admission.admit():
        with pytest.raises(BusyError, match="as many predictions as it can"):
            predictor.predict_upload(png(2))
        assert predictor.predict_upload(png(1)).is_cached
    assert not predictor.predict_upload(png(2)).is_cached


def test_a_request_whose_time_is_over_does_not_wait_for_its_turn(predictor: Predictor, png: Png) -> None:
    late, decoding = replace(predictor, deadline=Deadline(0.5)), predictor.admission.decoding
    with decoding.enter(Deadline(1)), pytest.raises(BusyError, match="too busy"):
        late.predict_upload(png(1))


def test_a_refused_file_leaves_nothing_and_its_place_is_free(predictor: Predictor, catalog: Catalog, png: Png) -> None:
    for _ in range(3):
        with pytest.raises(InvalidImageError):
            predictor.predict_upload(b"no image")
    assert count(catalog, images) == 0
    assert predictor.admission.in_progress == 0
    predictor.predict_upload(png(1))


def test_nothing_is_decoded_computed_or_measured_in_an_open_transaction(
    predictor: Predictor,
    load_model: Callable[[int], LoadedModel],
    png: Png,
    watch: TransactionWatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LoadedModel, "decode", watch.watched(LoadedModel.decode))
    monkeypatch.setattr(near_copies, "measure", watch.watched(measure))  # by the harvest
    for verb in ("predict", "classify"):
        monkeypatch.setattr(Classifier, verb, watch.watched(getattr(Classifier, verb)))
    eager = replace(predictor, settings=predictor.settings.model_copy(update={"harvest_confidence": 0.0}))
    eager.predict_upload(png(1))
    assert watch.checks == 3
    replace(eager, model=load_model(2)).predict_upload(png(1))
    assert watch.checks > 3  # another head, from the stored features
    assert watch.open == []


def test_a_concurrent_request_for_the_same_image_waits_in_no_transaction(
    predictor: Predictor, png: Png, watch: TransactionWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ThreadPoolExecutor(1)
    predict, asked = Classifier.predict, []

    def slow(self: Classifier, pixels: loaded_model.NDArray[loaded_model.np.uint8]) -> loaded_model.Output:
        asked.append(other.submit(predictor.predict_upload, png(1)))
        with pytest.raises(TimeoutError):
            asked[0].result(timeout=0.5)
        watch.check()
        return predict(self, pixels)

    monkeypatch.setattr(Classifier, "predict", slow)
    first = predictor.predict_upload(png(1))
    assert (first.is_cached, asked[0].result(timeout=60).is_cached) == (False, True)
    assert watch.open == []
    other.shutdown()


def test_an_open_transaction_would_be_seen(catalog: Catalog, watch: TransactionWatch) -> None:
    with catalog.begin() as connection:
        find_result(connection, "0" * 64, 1)
        watch.check()
    assert len(watch.open) == 1


def test_the_bytes_are_stored_before_the_row_that_names_them(
    predictor: Predictor, png: Png, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Classifier, pixels: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Classifier, "predict", fail)
    with pytest.raises(MemoryError):
        predictor.predict_upload(png(1))
    assert count(catalog, images) == 0
    stored = [path for path in Path(predictor.settings.mycoflow_home).rglob("*") if path.is_file()]
    assert any(sanitise(png(1)).sha256 in path.name for path in stored)


def test_an_account_stores_no_more_than_its_quota_and_gets_room_by_erasing(
    predictor: Predictor, catalog: Catalog, png: Png
) -> None:
    bounded = replace(predictor, settings=predictor.settings.model_copy(update={"quota_images": 2}))
    for number in (1, 2):
        bounded.predict_upload(png(number))
    with pytest.raises(QuotaError, match=r"at most 2 stored photos .* has 2 .*DELETE /images"):
        bounded.predict_upload(png(3))
    assert count(catalog, images) == 2
    assert bounded.predict_upload(png(1)).is_cached
    erase_photo(catalog, Account(bounded.account_id, "ada", "user"), sanitise(png(1)).sha256)
    assert not bounded.predict_upload(png(3)).is_cached


def test_the_size_of_photos_counts_too_and_each_counts_for_who_sent_it_first(
    predictor: Predictor, catalog: Catalog, png: Png, load_model: Callable[[int], LoadedModel]
) -> None:
    predictor.predict_upload(png(1))
    statement = "INSERT INTO users.accounts (login, password_hash, role) VALUES ('bob', 'x', 'user') RETURNING id"
    with catalog.begin() as connection:
        other = connection.execute(sa.text(statement)).scalar_one()
    tiny = predictor.settings.model_copy(update={"quota_image_gb": 1e-9})
    second = replace(predictor, settings=tiny, account_id=other)
    assert second.predict_upload(png(1)).is_cached
    second.predict_upload(png(2))
    with pytest.raises(QuotaError, match="GB"):
        second.predict_upload(png(3))
    with catalog.begin() as connection:
        connection.execute(sa.text("DELETE FROM training.features"))
    replace(second, model=load_model(2)).predict_upload(png(2))  # computed, but stored already
