"""Batches are answered in the background, photo by photo, whatever happens to a process or to a photo."""

import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.locks import batch_lock
from ml.catalog.logs import maintenance_mode
from ml.catalog.object_store import archive_key
from ml.catalog.tables import accounts, batch_photos, images, prediction_batches, predictions
from ml.errors import BatchLimitError, ImageStoreError
from ml.serving.admission import AdmissionControl
from ml.serving.answering import Predictor
from ml.serving.lazy_catalog import Database
from ml.serving.loaded_model import LoadedModel
from ml.serving.photo_batches import batch_worker
from ml.serving.photo_batches.batch_intake import add_addresses, add_archive
from ml.serving.photo_batches.batch_worker import BatchWorker
from ml.settings import Settings

Png = Callable[[int], bytes]
Row = Any


class Observer:
    """Counts nothing but the answers."""

    def __init__(self) -> None:
        self.answered = 0

    def count_prediction(self, _prediction: object) -> None:
        self.answered += 1

    def observe_stage(self, _stage: str, _seconds: float) -> None:
        pass


@pytest.fixture
def admission() -> AdmissionControl:
    return AdmissionControl(2)


@pytest.fixture
def new_worker(settings: Settings, model: LoadedModel, admission: AdmissionControl) -> Iterator[Callable[[], Any]]:
    """Makes workers, each like that of another process."""
    databases = []

    def new() -> BatchWorker:
        databases.append(Database(settings))
        models: Any = SimpleNamespace(current=model, demand_current=lambda: model)
        return BatchWorker(settings, databases[-1], models, admission, Observer())

    yield new
    for database in databases:
        database.close()


@pytest.fixture
def worker(new_worker: Callable[[], BatchWorker]) -> BatchWorker:
    return new_worker()


def make_zip(*contents: bytes) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, content in enumerate(contents, start=1):
            archive.writestr(f"{number}.png", content)
    return file


def photos_of(catalog: Catalog, batch_id: int) -> list[Row]:
    query = sa.select(batch_photos).where(batch_photos.c.batch_id == batch_id).order_by(batch_photos.c.number)
    with catalog.begin() as connection:
        return list(connection.execute(query))


def outcomes_of(catalog: Catalog, batch_id: int) -> list[str]:
    return [photo.problem or photo.state for photo in photos_of(catalog, batch_id)]


def batch_of(catalog: Catalog, batch_id: int) -> Row:
    query = sa.select(prediction_batches).where(prediction_batches.c.id == batch_id)
    with catalog.begin() as connection:
        return connection.execute(query).one()


def test_each_photo_of_a_zip_gets_a_prediction_of_its_account_and_the_zip_goes(
    catalog: Catalog, worker: BatchWorker, account_id: int, png: Png
) -> None:
    batch_id = add_archive(catalog, account_id, "forest.zip", make_zip(png(1), b"no photo", png(2), png(1)))
    assert catalog.store.exists(archive_key(batch_id))
    assert worker.work()
    photos = photos_of(catalog, batch_id)
    assert [photo.state for photo in photos] == ["named", "failed", "named", "named"]
    assert [photo.problem for photo in photos] == [None, "not-an-image", None, None]
    assert not catalog.store.exists(archive_key(batch_id))
    assert batch_of(catalog, batch_id).finished_at is not None
    with catalog.begin() as connection:
        asked = connection.execute(sa.select(predictions).order_by(predictions.c.id)).all()
        stored = connection.execute(sa.select(images.c.account_id)).scalars().all()
    assert [each.id for each in asked] == [photos[place].prediction_id for place in (0, 2, 3)]
    assert {each.account_id for each in asked} == {account_id} == set(stored)
    assert [each.is_cached for each in asked] == [False, False, True]
    assert not worker.work()


def test_addresses_obey_the_rules_for_single_ones(
    catalog: Catalog, settings: Settings, new_worker: Callable[[], Any], account_id: int, png: Png,
    serve_script: Callable[..., int], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    photo = png(1)
    answers = {
        "/photo": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(photo) + photo,
        "/text": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "/secret": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    }
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    port = serve_script(lambda path, connection: connection.sendall(answers.get(path, missing)))
    host = f"http://127.0.0.1:{port}"
    worker = new_worker()
    monkeypatch.setattr(worker, "_settings", settings.model_copy(update={"fetch_allowed_hosts": f"127.0.0.1:{port}"}))
    addresses = [
        f"{host}/photo", f"{host}/none", f"{host}/text", f"{host}/secret", "http://127.0.0.1/", "http://169.254.169.254/",
        "file:///etc/passwd", "no address", "http://localhost:5432/", "\0", "http://[::1]/", f"{host}/photo",
    ]  # fmt: skip
    batch_id = add_addresses(catalog, account_id, addresses)
    assert worker.work()
    refused = ["target-refused"] * 8
    assert outcomes_of(catalog, batch_id) == ["named", "target-missing", "not-an-image", *refused, "named"]


def test_a_worker_goes_on_where_a_killed_one_stopped(
    catalog: Catalog, new_worker: Callable[[], Any], account_id: int, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = add_archive(catalog, account_id, "a.zip", make_zip(*map(png, range(1, 5))))
    predict, calls = Predictor.predict_upload, []

    def be_killed_at_the_third(self: Predictor, content: bytes) -> object:
        calls.append(content)
        if len(calls) == 3:
            raise SystemExit  # as far as the worker can tell: nothing after it runs
        return predict(self, content)

    monkeypatch.setattr(Predictor, "predict_upload", be_killed_at_the_third)
    with pytest.raises(SystemExit):
        new_worker().work()
    states = [photo.state for photo in photos_of(catalog, batch_id)]
    assert states == ["named", "named", "waiting", "waiting"]
    assert new_worker().work()
    assert {photo.state for photo in photos_of(catalog, batch_id)} == {"named"}
    assert len(calls) == 5  # no photo twice but the one that was under way


def test_a_photo_that_ends_the_process_each_time_is_given_up(
    catalog: Catalog, new_worker: Callable[[], Any], account_id: int, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = add_archive(catalog, account_id, "a.zip", make_zip(png(1), png(2)))
    deadly, predict = png(1), Predictor.predict_upload

    def die(self: Predictor, content: bytes) -> object:
        if content == deadly:
            raise SystemExit
        return predict(self, content)

    monkeypatch.setattr(Predictor, "predict_upload", die)
    for _ in range(batch_worker.MOST_TRIES):
        with pytest.raises(SystemExit):
            new_worker().work()
    assert new_worker().work()
    assert outcomes_of(catalog, batch_id) == ["internal-server-error", "named"]


def test_a_fault_at_one_photo_is_tried_again_and_does_not_stop_the_others(
    catalog: Catalog, worker: BatchWorker, account_id: int, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = add_archive(catalog, account_id, "a.zip", make_zip(png(1), png(2)))
    bad, predict, tries = png(1), Predictor.predict_upload, []

    def fail(self: Predictor, content: bytes) -> object:
        if content == bad:
            tries.append(1)
            raise KeyError("a fault")
        return predict(self, content)

    monkeypatch.setattr(Predictor, "predict_upload", fail)
    assert worker.work()
    assert outcomes_of(catalog, batch_id) == ["internal-server-error", "named"]
    assert len(tries) == batch_worker.MOST_TRIES


def test_an_outage_costs_no_photo(
    catalog: Catalog, worker: BatchWorker, account_id: int, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = add_archive(catalog, account_id, "a.zip", make_zip(png(1)))

    def fail(_self: Predictor, _content: bytes) -> object:
        raise ImageStoreError("The store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "predict_upload", fail)
        for _ in range(2 * batch_worker.MOST_TRIES):
            with pytest.raises(ImageStoreError):
                worker.work()
    (photo,) = photos_of(catalog, batch_id)
    assert (photo.state, photo.tries) == ("waiting", 0)
    assert worker.work()
    assert photos_of(catalog, batch_id)[0].state == "named"


def test_several_processes_share_the_batches_and_answer_each_photo_once(
    catalog: Catalog, new_worker: Callable[[], Any], account_id: int, png: Png
) -> None:
    first = add_archive(catalog, account_id, "a.zip", make_zip(*map(png, range(1, 6))))
    second = add_archive(catalog, account_id, "b.zip", make_zip(*map(png, range(6, 11))))

    def work() -> None:
        worker = new_worker()
        for _ in range(4):
            worker.work()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for batch_id in (first, second):
        assert {photo.state for photo in photos_of(catalog, batch_id)} == {"named"}
        assert {photo.tries for photo in photos_of(catalog, batch_id)} == {1}
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(predictions)) == 10


def test_a_batch_that_another_process_works_on_is_left_alone(
    catalog: Catalog, worker: BatchWorker, account_id: int, png: Png
) -> None:
    batch_id = add_archive(catalog, account_id, "a.zip", make_zip(png(1)))
    with catalog.try_lock(batch_lock(batch_id)) as is_ours:
        assert is_ours
        assert not worker.work()
    assert photos_of(catalog, batch_id)[0].state == "waiting"


def test_batches_take_turns(
    catalog: Catalog, worker: BatchWorker, account_id: int, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_worker, "_TURN_SECONDS", 0.0)
    large = add_archive(catalog, account_id, "large.zip", make_zip(*map(png, range(1, 8))))
    small = add_archive(catalog, account_id, "small.zip", make_zip(png(20)))
    for _ in range(2):
        worker.work()
    assert batch_of(catalog, small).finished_at is not None
    assert batch_of(catalog, large).finished_at is None
    assert worker.work()
    assert batch_of(catalog, large).finished_at is not None


def test_single_requests_go_first_and_batches_go_on_all_the_same(
    catalog: Catalog, worker: BatchWorker, admission: AdmissionControl, account_id: int, png: Png,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(batch_worker, "_PATIENCE_SECONDS", 60.0)
    batch_id = add_archive(catalog, account_id, "a.zip", make_zip(png(1), png(2)))
    thread = threading.Thread(target=worker.work)
    with admission.admit(account_id):
        thread.start()
        time.sleep(1.0)
        assert {photo.state for photo in photos_of(catalog, batch_id)} == {"waiting"}
    thread.join(30)
    assert {photo.state for photo in photos_of(catalog, batch_id)} == {"named"}
    monkeypatch.setattr(batch_worker, "_PATIENCE_SECONDS", 0.2)
    more = add_archive(catalog, account_id, "b.zip", make_zip(png(3), png(4)))
    with admission.admit(account_id):  # requests without end
        assert worker.work()
    assert {photo.state for photo in photos_of(catalog, more)} == {"named"}


def test_a_batch_takes_no_place_from_requests(
    catalog: Catalog, worker: BatchWorker, admission: AdmissionControl, account_id: int, png: Png,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seen, predict = [], LoadedModel.predict
    monkeypatch.setattr(
        LoadedModel, "predict", lambda self, pixels: (seen.append(admission.in_progress), predict(self, pixels))[1]
    )
    add_archive(catalog, account_id, "a.zip", make_zip(png(1)))
    assert worker.work()
    assert seen == [0]


def test_nothing_is_answered_in_maintenance_or_for_a_disabled_account(
    catalog: Catalog, worker: BatchWorker, account_id: int, png: Png
) -> None:
    batch_id = add_archive(catalog, account_id, "a.zip", make_zip(png(1)))
    with catalog.begin() as connection:
        maintenance_mode.switch(connection, True, "the test")
    assert not worker.work()
    with catalog.begin() as connection:
        maintenance_mode.switch(connection, False, "the test")
        connection.execute(sa.update(accounts).values(disabled_at=sa.func.now()))
    assert not worker.work()
    assert photos_of(catalog, batch_id)[0].state == "waiting"
    with catalog.begin() as connection:
        connection.execute(sa.update(accounts).values(disabled_at=None))
    assert worker.work()
    assert photos_of(catalog, batch_id)[0].state == "named"


def test_a_lost_zip_is_said_of_each_photo(catalog: Catalog, worker: BatchWorker, account_id: int, png: Png) -> None:
    batch_id = add_archive(catalog, account_id, "a.zip", make_zip(png(1), png(2)))
    catalog.store.delete(archive_key(batch_id))
    assert worker.work()
    assert {photo.problem for photo in photos_of(catalog, batch_id)} == {"archive-lost"}
    assert batch_of(catalog, batch_id).finished_at is not None


def test_an_account_has_few_batches_under_way(catalog: Catalog, worker: BatchWorker, account_id: int, png: Png) -> None:
    for _ in range(2):
        add_archive(catalog, account_id, "a.zip", make_zip(png(1)))
    for add in (
        lambda: add_archive(catalog, account_id, "b.zip", make_zip(png(1))),
        lambda: add_addresses(catalog, account_id, ["https://example.org/a.png"]),
    ):
        with pytest.raises(BatchLimitError, match="at most 2"):
            add()
    assert worker.work()
    assert add_archive(catalog, account_id, "c.zip", make_zip(png(1)))


def test_a_full_store_leaves_nothing_of_a_batch(
    catalog: Catalog, account_id: int, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise ImageStoreError("No space.")

    monkeypatch.setattr(type(catalog.store), "put_file", fail)
    with pytest.raises(ImageStoreError):
        add_archive(catalog, account_id, "a.zip", make_zip(png(1)))
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(prediction_batches)) == 0


def test_the_thread_answers_what_it_is_woken_for_and_stops(
    catalog: Catalog, worker: BatchWorker, account_id: int, png: Png
) -> None:
    worker.start()
    batch_id = add_archive(catalog, account_id, "a.zip", make_zip(png(1)))
    worker.wake()
    until = time.monotonic() + 30
    while batch_of(catalog, batch_id).finished_at is None and time.monotonic() < until:
        time.sleep(0.05)
    assert batch_of(catalog, batch_id).finished_at is not None
    worker.stop()
    assert not any(thread.name == "batch-worker" and thread.is_alive() for thread in threading.enumerate())
