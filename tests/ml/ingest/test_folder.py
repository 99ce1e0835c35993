"""Ingesting a folder into the real database and a real store."""

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image

from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.object_store import image_key
from ml.catalog.tables import annotations, images, items
from ml.errors import ImageStoreError, SourceError
from ml.ingest import folder as folder_module
from ml.ingest.folder import ingest_folder
from ml.ingest.pictures.picture_limits import INGESTION

MakeFolder = Callable[[str, dict[str, list[int]]], Path]


def rows(catalog: Catalog) -> list[Any]:
    with catalog.begin() as connection:
        return list(
            connection.execute(
                sa.select(
                    items,
                    items.c.class_names[1].label("label"),
                    images.c.media_type,
                    images.c.width,
                    images.c.height,
                    images.c.byte_count,
                )
                .join_from(items, images)
                .order_by(items.c.entered_pool_at, items.c.id)
            )
        )


def label_rows(catalog: Catalog) -> list[Any]:
    with catalog.begin() as connection:
        return list(
            connection.execute(
                sa.select(annotations, annotations.c.class_names[1].label("label")).order_by(annotations.c.id)
            )
        )


def groups_of(folder: Path, groups: dict[str, str]) -> Path:
    lines = [f"{file},{group}\n" for file, group in groups.items()]
    (folder / "groups.csv").write_text("file,group\n" + "".join(lines))
    return folder


def test_pool_images_enter_the_pool_with_their_label(catalog: Catalog, image_folder: MakeFolder) -> None:
    report = ingest_folder(catalog, image_folder("first", {"a": [1, 2], "b": [3]}), "pool")
    assert (report.accepted, report.duplicates, report.rejected) == (3, 0, {})
    for row in rows(catalog):
        assert (row.split, row.evaluation_part, row.label_origin) == ("pool", None, "curated")
        assert row.group_key == row.id
        assert row.received_at <= row.entered_pool_at <= datetime.now(UTC)
        assert row.source == "folder:first"
    assert sorted(row.label for row in rows(catalog)) == ["a", "a", "b"]
    assert {(row.label, row.origin, row.said_by) for row in label_rows(catalog)} == {
        ("a", "curated", "folder:first"),
        ("b", "curated", "folder:first"),
    }


def test_evaluation_images_become_the_anchor(catalog: Catalog, image_folder: MakeFolder) -> None:
    ingest_folder(catalog, image_folder("held out", {"a": [1], "b": [2]}), "evaluation")
    for row in rows(catalog):
        assert (row.split, row.evaluation_part, row.entered_pool_at) == ("evaluation", "anchor", None)


def test_each_row_describes_the_stored_bytes(catalog: Catalog, image_folder: MakeFolder) -> None:
    ingest_folder(catalog, image_folder("first", {"a": [1]}), "pool")
    (row,) = rows(catalog)
    content = catalog.store.get(image_key(row.id))
    assert (row.media_type, row.byte_count, row.width, row.height) == ("image/png", len(content), 48, 40)
    assert Image.open(BytesIO(content)).size == (48, 40)


def test_the_newest_images_are_of_every_class(catalog: Catalog, image_folder: MakeFolder) -> None:
    ingest_folder(catalog, image_folder("first", {"a": list(range(20)), "b": list(range(20, 40))}), "pool")
    assert sorted(row.label for row in rows(catalog)[-6:]) == ["a", "a", "a", "b", "b", "b"]


def test_ingesting_again_changes_nothing(catalog: Catalog, image_folder: MakeFolder) -> None:
    folder = image_folder("first", {"a": [1, 2], "b": [3]})
    ingest_folder(catalog, folder, "pool")
    before = rows(catalog), label_rows(catalog)
    report = ingest_folder(catalog, folder, "pool")
    assert (report.accepted, report.duplicates, report.rejected) == (0, 3, {})
    assert (rows(catalog), label_rows(catalog)) == before


def test_copies_in_one_folder_come_in_once(catalog: Catalog, image_folder: MakeFolder) -> None:
    folder = image_folder("first", {"a": [1]})
    for copy in range(70):
        (folder / "a" / f"copy{copy}.png").write_bytes((folder / "a" / "001.png").read_bytes())
    report = ingest_folder(catalog, folder, "pool")
    assert (report.accepted, report.duplicates) == (1, 70)


def test_one_image_under_two_labels_is_reported(catalog: Catalog, image_folder: MakeFolder) -> None:
    report = ingest_folder(catalog, image_folder("first", {"a": [1], "b": [1]}), "pool")
    assert (report.accepted, report.duplicates, report.rejected) == (1, 0, {"conflicting_label": 1})
    assert [row.label for row in rows(catalog)] == ["a"]


def test_bad_files_are_reported_and_the_rest_goes_on(catalog: Catalog, image_folder: MakeFolder) -> None:
    folder = image_folder("first", {"a": [1, 2], "b": [3]})
    good = (folder / "a" / "001.png").read_bytes()
    (folder / "a" / "empty.png").write_bytes(b"")
    (folder / "a" / "text.jpg").write_text("not an image")
    (folder / "a" / "half.png").write_bytes(good[: len(good) // 2])
    (folder / "b" / "huge.jpg").write_bytes(bytes(INGESTION.bytes + 1))
    (folder / "b" / "broken link.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "b" / "pipe.png")
    (folder / "readme.txt").write_text("notes")
    report = ingest_folder(catalog, folder, "pool")
    assert report.accepted == len(rows(catalog)) == 3
    assert report.rejected == {
        "not_an_image": 3,
        "outside_class_folder": 1,
        "zero_byte": 1,
        "unreadable": 1,
        "too_large": 1,
    }
    refused = {Path(reject.path).name: reject for reject in report.rejects}
    assert "expected at most 52,428,800 bytes (50 MB), got 52,428,801" in refused["huge.jpg"].message
    assert all("expected" in reject.message for reject in report.rejects)


def test_the_real_format_counts_whatever_the_extension(
    catalog: Catalog, image_folder: MakeFolder, photo: Callable[..., Image.Image], encode: Callable[..., bytes]
) -> None:
    folder = image_folder("first", {"a": [1]})
    (folder / "a" / "really a photo.png").write_bytes(encode(photo(2), "JPEG"))
    (folder / "a" / "no extension").write_bytes(encode(photo(3), "WEBP"))
    assert ingest_folder(catalog, folder, "pool").accepted == 3
    assert sorted(row.media_type for row in rows(catalog)) == ["image/jpeg", "image/png", "image/png"]


def test_links_out_of_the_folder_are_not_followed(catalog: Catalog, image_folder: MakeFolder) -> None:
    private = image_folder("private", {"a": [8, 9]})
    folder = image_folder("first", {"a": [1]})
    (folder / "a" / "link.png").symlink_to(private / "a" / "008.png")
    (folder / "b").symlink_to(private / "a")
    (folder / "a" / "inside.png").symlink_to(folder / "a" / "001.png")
    report = ingest_folder(catalog, folder, "pool")
    assert (report.accepted, report.duplicates, report.rejected) == (1, 1, {"link_outside": 2})


@pytest.mark.parametrize(("first", "second"), [("pool", "evaluation"), ("evaluation", "pool")])
def test_no_image_is_in_both_splits(first: Any, second: Any, catalog: Catalog, image_folder: MakeFolder) -> None:
    ingest_folder(catalog, image_folder("one", {"a": [1, 2]}), first)
    report = ingest_folder(catalog, image_folder("two", {"a": [2, 3]}), second)
    assert (report.accepted, report.rejected) == (1, {"in_other_split": 1})


@pytest.mark.parametrize(("first", "second"), [("pool", "evaluation"), ("evaluation", "pool")])
def test_no_group_is_in_both_splits(first: Any, second: Any, catalog: Catalog, image_folder: MakeFolder) -> None:
    ingest_folder(catalog, groups_of(image_folder("one", {"a": [1, 2]}), {"a/001.png": "walk 7"}), first)
    folder = groups_of(image_folder("two", {"a": [3, 4]}), {"a/003.png": "walk 7", "a/004.png": "walk 8"})
    report = ingest_folder(catalog, folder, second)
    assert (report.accepted, report.rejected) == (1, {"group_in_other_split": 1})
    assert {row.group_key for row in rows(catalog) if row.split == second} == {"walk 8"}


def test_a_group_may_grow_in_its_own_split(catalog: Catalog, image_folder: MakeFolder) -> None:
    ingest_folder(catalog, groups_of(image_folder("one", {"a": [1]}), {"a/001.png": "walk 7"}), "pool")
    report = ingest_folder(catalog, groups_of(image_folder("two", {"a": [2]}), {"a/002.png": "walk 7"}), "pool")
    assert (report.accepted, report.rejected) == (1, {})


def test_a_group_stated_too_late_is_reported(catalog: Catalog, image_folder: MakeFolder) -> None:
    folder = image_folder("one", {"a": [1, 2]})
    ingest_folder(catalog, folder, "pool")
    report = ingest_folder(catalog, groups_of(folder, {"a/001.png": "walk 7"}), "pool")
    assert (report.duplicates, report.rejected) == (1, {"conflicting_group": 1})


def test_splits_stay_apart_when_both_are_filled_at_once(
    catalog: Catalog, image_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "BATCH_SIZE", 3)
    seeds = list(range(40))
    one = groups_of(image_folder("one", {"a": seeds}), {f"a/{seed:03d}.png": f"walk {seed // 4}" for seed in seeds})
    others = list(range(100, 140))
    two = groups_of(
        image_folder("two", {"a": others}), {f"a/{seed:03d}.png": f"walk {(seed - 100) // 4}" for seed in others}
    )
    with ThreadPoolExecutor(4) as threads:
        runs = [(one, "pool"), (two, "evaluation"), (one, "evaluation"), (two, "pool")]
        list(threads.map(lambda run: ingest_folder(catalog, *run), runs))
    found = rows(catalog)
    pool_groups = {row.group_key for row in found if row.split == "pool"}
    evaluation_groups = {row.group_key for row in found if row.split == "evaluation"}
    assert pool_groups.isdisjoint(evaluation_groups)
    assert pool_groups | evaluation_groups == {f"walk {number}" for number in range(10)}


def test_the_same_folder_ingested_twice_at_once_comes_in_once(catalog: Catalog, image_folder: MakeFolder) -> None:
    folder = image_folder("first", {"a": list(range(30)), "b": list(range(30, 60))})
    with ThreadPoolExecutor(3) as threads:
        reports = list(threads.map(lambda _: ingest_folder(catalog, folder, "pool"), range(3)))
    assert sum(report.accepted for report in reports) == len(rows(catalog)) == len(label_rows(catalog)) == 60
    assert sum(report.duplicates for report in reports) == 120


@pytest.mark.parametrize("split", ["pool", "evaluation"])
def test_an_image_that_was_only_predicted_becomes_a_member(
    split: Any, catalog: Catalog, image_folder: MakeFolder
) -> None:
    known = image_folder("known", {"a": [1]})
    ingest_folder(catalog, known, "pool")
    (row,) = rows(catalog)
    with catalog.begin() as connection:
        connection.execute(sa.delete(annotations))
        connection.execute(sa.delete(items))
        record = ItemRecord("web", ImageRecord(row.id, "image/png", 48, 40, row.byte_count))
        add_predicted(connection, record)
        add_predicted(connection, record)
    (predicted,) = rows(catalog)
    assert (predicted.split, predicted.label) == (None, None)
    report = ingest_folder(catalog, groups_of(known, {"a/001.png": "walk 7"}), split)
    assert (report.accepted, report.duplicates) == (1, 0)
    (member,) = rows(catalog)
    assert (member.split, member.label, member.group_key) == (split, "a", "walk 7")
    assert member.received_at == predicted.received_at
    assert (member.entered_pool_at is not None) == (split == "pool")
    assert len(label_rows(catalog)) == 1


def test_the_time_of_arrival_can_be_given(catalog: Catalog, image_folder: MakeFolder) -> None:
    arrived = datetime(2024, 10, 3, 7, 30, tzinfo=UTC)
    ingest_folder(catalog, image_folder("first", {"a": [1]}), "pool", received_at=arrived)
    (row,) = rows(catalog)
    assert row.received_at == arrived
    assert row.entered_pool_at > datetime.now(UTC) - timedelta(minutes=1)


@pytest.mark.parametrize("moment", [datetime.now(UTC) + timedelta(hours=1), datetime(2024, 10, 3)])  # noqa: DTZ001
def test_a_time_of_arrival_must_be_a_moment_of_the_past(
    moment: datetime, catalog: Catalog, image_folder: MakeFolder
) -> None:
    with pytest.raises(SourceError, match="received_at: expected"):
        ingest_folder(catalog, image_folder("first", {"a": [1]}), "pool", received_at=moment)
    assert rows(catalog) == []


def test_an_empty_folder_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="found no sub-folder"):
        ingest_folder(catalog, tmp_path / "empty", "pool")


def test_one_class_alone_may_arrive(catalog: Catalog, image_folder: MakeFolder) -> None:
    assert ingest_folder(catalog, image_folder("first", {"only": [1, 2]}), "pool").accepted == 2


def test_progress_counts_every_file_once(catalog: Catalog, image_folder: MakeFolder) -> None:
    folder = image_folder("first", {"a": list(range(70))})
    (folder / "a" / "empty.png").write_bytes(b"")
    told: list[tuple[int, int]] = []
    ingest_folder(catalog, folder, "pool", on_progress=lambda done, total: told.append((done, total)))
    assert told == sorted(set(told))
    assert told[-1] == (71, 71)


def test_a_full_disk_stops_the_run_and_the_next_one_completes_it(
    catalog: Catalog, image_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "BATCH_SIZE", 4)
    folder = image_folder("first", {"a": list(range(5)), "b": list(range(5, 10))})
    really_sync, calls = os.fsync, iter(range(1000))

    def fill_up(descriptor: int) -> None:
        if next(calls) > 11:  # two calls an image: the disk is full at the seventh
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really_sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fill_up)
        with pytest.raises(ImageStoreError, match="No space left on device"):
            ingest_folder(catalog, folder, "pool")
    kept = rows(catalog)
    assert len(kept) == 4  # the batch before; what the full disk interrupted has no row
    assert {row.label for row in kept} == {"a", "b"}
    for row in kept:
        assert len(catalog.store.get(image_key(row.id))) == row.byte_count
    report = ingest_folder(catalog, folder, "pool")
    assert (report.accepted, report.duplicates, report.rejected) == (6, 4, {})
    for row in rows(catalog):
        assert len(catalog.store.get(image_key(row.id))) == row.byte_count


def test_the_bytes_are_stored_before_the_row_that_names_them(catalog: Catalog, image_folder: MakeFolder) -> None:
    class Watching:
        """The real store, looking at the database as each object arrives."""

        def put(self, key: str, content: bytes) -> None:
            with catalog.begin() as connection:
                known = connection.scalar(sa.select(sa.func.count()).where(items.c.id == Path(key).name))
            assert known == 0
            catalog.store.put(key, content)

        get, exists, delete = catalog.store.get, catalog.store.exists, catalog.store.delete

    assert ingest_folder(replace(catalog, store=Watching()), image_folder("first", {"a": [1, 2]}), "pool").accepted == 2
    assert all(catalog.store.exists(image_key(row.id)) for row in rows(catalog))


def test_a_class_whose_images_are_all_in_one_group_is_told_at_once(catalog: Catalog, image_folder: MakeFolder) -> None:
    folder = image_folder("data", {"a": [1, 2], "b": [3, 4], "c": [5]})
    (folder / "groups.csv").write_text("file,group\na/001.png,walk 7\na/002.png,walk 7\nb/003.png,walk 7\n")
    assert ingest_folder(catalog, folder, "pool").single_groups == {"a": "walk 7"}
    assert ingest_folder(catalog, image_folder("more", {"a": [6]}), "pool").single_groups == {}
