"""What a run leaves when a source, the store or the run itself fails, and how the next one goes on."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.batches import list_batches
from ml.catalog.images.copy_index import load_statistics
from ml.catalog.object_store import image_key
from ml.catalog.tables import image_statistics, ingest_batches, ingest_files
from ml.deadlines import Deadline
from ml.errors import (
    ImageStoreError,
    IngestError,
    InvalidImageError,
    SourceError,
    SourceUnavailableError,
)
from ml.ingest import intake as batches_module
from ml.ingest.intake import ingest_source
from ml.ingest.sources.arrivals import ArrivedFile
from ml.ingest.sources.drop_folder import DropFolder
from tests.ml.ingest.arriving import (
    CERTIFIED,
    Drop,
    Encode,
    ListedSource,
    Take,
    batch,
    files,
    know_labels,
    pull,
    reasons,
    rows,
)


def test_a_large_arrival_makes_several_batches_and_the_deadline_leaves_the_rest(
    catalog: Catalog, drop_folder: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "BATCH_FILES", 4)
    folder = drop_folder({"a": list(range(10))})
    assert ingest_source(catalog, DropFolder(folder), CERTIFIED, Deadline(0)) == []
    found = pull(catalog, folder)
    assert [len(files(catalog, batch_id)) for batch_id in found] == [4, 4, 2]


def test_a_crash_costs_one_batch_and_the_next_run_takes_it(
    catalog: Catalog, drop_folder: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "BATCH_FILES", 3)
    stored = iter(range(100))

    class Failing:
        """The real store, full at the fifth object."""

        def put(self, key: str, content: bytes) -> None:
            if next(stored) == 4:
                raise ImageStoreError("full")
            catalog.store.put(key, content)

        get, exists, delete = catalog.store.get, catalog.store.exists, catalog.store.delete
        stat = catalog.store.stat

    folder = drop_folder({"a": list(range(7))})
    with pytest.raises(ImageStoreError):
        pull(replace(catalog, store=Failing()), folder)
    assert len(rows(catalog)) == 3
    pull(catalog, folder)
    assert len(rows(catalog)) == 7
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(ingest_files)) == 7


@pytest.mark.parametrize("failure", [SourceUnavailableError, SourceError])
def test_what_was_had_before_a_source_went_away_is_kept(
    catalog: Catalog, textured: Take, encode: Encode, failure: type[IngestError]
) -> None:
    def gone() -> bytes:
        raise failure("expected an answer, got none")

    arrived = [
        ArrivedFile(str(seed), "1", "a", None, lambda seed=seed: encode(textured(seed), "PNG")) for seed in range(3)
    ]
    with pytest.raises(failure):
        pull(catalog, ListedSource([*arrived, ArrivedFile("3", "1", "a", None, gone)]))
    assert len(rows(catalog)) == 3
    assert pull(catalog, ListedSource(arrived)) == []


def test_photos_that_cannot_be_reached_are_rejected_unless_the_server_is_down(
    catalog: Catalog, textured: Take, encode: Encode
) -> None:
    def unreachable() -> bytes:
        raise InvalidImageError("unreachable", "expected a photo, got status 500")

    def photo(number: int, read: Callable[[], bytes]) -> ArrivedFile:
        return ArrivedFile(f"{number}", "1", "a", None, read)

    good = [photo(seed, lambda seed=seed: encode(textured(seed), "PNG")) for seed in range(8)]
    (batch_id,) = pull(catalog, ListedSource([*good, photo(8, unreachable), photo(9, unreachable)]))
    assert reasons(catalog, batch_id)["rejected", "unreachable"] == 2
    assert batch(catalog, batch_id).reject_share == 0
    down = ListedSource([photo(number, unreachable) for number in range(10, 16)])
    for _ in range(2):  # each run asks for others
        with pytest.raises(SourceUnavailableError, match="3 downloads in a row failed"):
            pull(catalog, down)
    assert pull(catalog, down) == []
    with catalog.begin() as connection:
        assert [found.state for found in list_batches(connection, 10)] == ["waiting", "done", "done"]


def test_what_could_not_be_reached_is_asked_for_another_day_and_after_all_that_is_new(
    catalog: Catalog, textured: Take, encode: Encode
) -> None:
    is_down = True

    def read(seed: int) -> bytes:
        if is_down:
            raise InvalidImageError("unreachable", "expected a photo, got status 500")
        return encode(textured(seed), "PNG")

    def photo(seed: int) -> ArrivedFile:
        return ArrivedFile(f"{seed}", "1", "a", None, lambda: read(seed))

    def pass_days(days: int) -> None:
        with catalog.begin() as connection:
            before = ingest_batches.c.ingested_at - timedelta(days=days)
            connection.execute(sa.update(ingest_batches).values(ingested_at=before))

    def taken() -> list[str]:
        batch_ids = pull(catalog, ListedSource([photo(seed) for seed in (1, 2)]))
        return [file.name for batch_id in batch_ids for file in files(catalog, batch_id)]

    assert (taken(), taken()) == (["1", "2"], [])
    pass_days(1)
    assert taken() == ["1", "2"]
    pass_days(2)
    assert taken() == ["1", "2"]
    pass_days(2)
    assert taken() == []  # it has failed for three days: three more must pass
    pass_days(2)
    is_down = False
    (batch_id,) = pull(catalog, ListedSource([photo(seed) for seed in (1, 2, 3)]))
    assert [(file.name, file.outcome) for file in files(catalog, batch_id)] == [
        ("3", "waiting"),
        ("1", "waiting"),
        ("2", "waiting"),
    ]
    pass_days(9)
    assert taken() == []


def test_an_image_whose_bytes_are_gone_keeps_no_source_from_being_taken_in(
    catalog: Catalog, drop_folder: Drop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    know_labels(catalog, drop_folder, tmp_path)
    gone, kept = rows(catalog)[0].id, rows(catalog)[1].id
    catalog.store.delete(image_key(gone))
    with catalog.begin() as connection:
        connection.execute(sa.delete(image_statistics))  # as before this release
    assert len(pull(catalog, drop_folder({"b": [2]}))) == 1
    assert f"1 images are not in the image store, so copies pass for new. First: {gone}" in caplog.text
    with catalog.begin() as connection:
        assert set(load_statistics(connection, [gone, kept])) == {kept}


def test_a_store_that_is_down_takes_nothing_in(catalog: Catalog, drop_folder: Drop, tmp_path: Path) -> None:
    know_labels(catalog, drop_folder, tmp_path)
    with catalog.begin() as connection:
        connection.execute(sa.delete(image_statistics))  # as before this release
    store = catalog.store

    class Down:
        """A store that gives nothing, though all is there."""

        put, exists, delete, stat = store.put, store.exists, store.delete, store.stat

        def get(self, key: str) -> bytes:
            raise ImageStoreError("no answer")

    with pytest.raises(ImageStoreError, match="no answer"):
        pull(replace(catalog, store=Down()), drop_folder({"a": [1]}))
