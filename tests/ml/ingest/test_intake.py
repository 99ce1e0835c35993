"""What sources bring, from the first look at a file to an admin's certificate, in the real database."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image, ImageFilter

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import latest_alerts
from ml.catalog.object_store import image_key
from ml.catalog.tables import annotations, image_rights
from ml.data.data_changes import Change, apply_changes, decide_batches
from ml.data.membership import read_states
from ml.deadlines import Deadline
from ml.errors import (
    UnknownBatchError,
)
from ml.ingest.folder import ingest_folder
from ml.ingest.sources.arrivals import ArrivedFile, Rights
from tests.ml.ingest.arriving import (
    TRUSTED,
    Drop,
    Encode,
    ListedSource,
    Take,
    batch,
    decide,
    files,
    know_labels,
    pull,
    reasons,
    rows,
)


def test_what_a_source_brings_waits_for_a_certificate(catalog: Catalog, drop_folder: Drop, tmp_path: Path) -> None:
    know_labels(catalog, drop_folder, tmp_path)
    (batch_id,) = pull(catalog, drop_folder({"a": [1, 2], "b": [3]}))
    assert reasons(catalog, batch_id) == {("waiting", "certification"): 3}
    for row in rows(catalog)[4:]:
        assert (row.split, row.entered_pool_at, row.label_origin, row.held_back) == (None, None, "stated", "waiting")
        assert catalog.store.exists(image_key(row.id))
    found = batch(catalog, batch_id)
    assert (found.state, found.waiting, found.counts, found.contact_sheet_key) == ("waiting", 3, {"waiting": 3}, None)
    assert found.source == (tmp_path / "drop").as_uri()


def test_certified_images_enter_the_pool_and_the_evaluation_set_for_good(catalog: Catalog, drop_folder: Drop) -> None:
    first = pull(catalog, drop_folder({"a": list(range(30))}))
    second = pull(catalog, drop_folder({"b": list(range(30, 60))}))
    assert decide(catalog, "certify", *first, *second) == 60
    splits = Counter(row.split for row in rows(catalog))
    assert splits.total() == 60
    assert 2 <= splits["evaluation"] <= 25  # a fifth, by the hash of the group
    for row in rows(catalog):
        assert (row.label_origin, row.held_back) == ("confirmed", None)
        assert (row.entered_pool_at is not None) == (row.split == "pool")
        assert (row.evaluation_part == "recent") == (row.split == "evaluation")
    assert batch(catalog, first[0]).state == "done"
    assert decide(catalog, "certify", *first) == 0


def test_one_image_of_a_batch_can_be_certified_or_corrected_alone(catalog: Catalog, drop_folder: Drop) -> None:
    (batch_id,) = pull(catalog, drop_folder({"a": [1, 2, 3]}))
    certified, corrected, _ = [file.item_id for file in files(catalog, batch_id)]
    assert certified is not None and corrected is not None
    with catalog.begin() as connection:
        changes = [Change("certify", certified), Change("relabel", corrected, Annotation(("b",)))]
        apply_changes(connection, changes, "account:7", mirrored=True)
    assert {row.id: row.label for row in rows(catalog) if row.held_back is None} == {certified: "a", corrected: "b"}
    assert batch(catalog, batch_id).waiting == 1


def test_a_rejected_batch_stays_out_for_good(catalog: Catalog, drop_folder: Drop) -> None:
    folder = drop_folder({"a": [1, 2]})
    (batch_id,) = pull(catalog, folder)
    assert decide(catalog, "exclude", batch_id) == 2
    assert {row.held_back for row in rows(catalog)} == {"excluded"}
    (folder / "a" / "001.png").rename(folder / "a" / "under another name.png")
    (again,) = pull(catalog, folder)
    assert reasons(catalog, again) == {("rejected", "excluded"): 1}


def test_without_certification_known_labels_enter_and_unknown_ones_wait(
    catalog: Catalog, drop_folder: Drop, tmp_path: Path
) -> None:
    know_labels(catalog, drop_folder, tmp_path)
    (batch_id,) = pull(catalog, drop_folder({"a": [1, 2], "c": [3]}), TRUSTED)
    assert reasons(catalog, batch_id) == {("entered", None): 2, ("waiting", "unknown_label"): 1}
    entered = [row for row in rows(catalog)[4:] if row.label == "a"]
    assert {(row.label_origin, row.held_back) for row in entered} == {("curated", None)}
    assert all(row.split is not None for row in entered)
    with catalog.begin() as connection:
        said = connection.execute(sa.select(annotations.c.said_by).order_by(annotations.c.id.desc()).limit(2))
        assert set(said.scalars()) == {(tmp_path / "drop").as_uri()}


def test_a_label_becomes_known_by_a_certificate_and_not_by_waiting(catalog: Catalog, drop_folder: Drop) -> None:
    (first,) = pull(catalog, drop_folder({"a": [1, 2]}), TRUSTED)
    (second,) = pull(catalog, drop_folder({"a": [3, 4]}), TRUSTED)
    assert reasons(catalog, second) == {("waiting", "unknown_label"): 2}
    decide(catalog, "certify", first)
    (third,) = pull(catalog, drop_folder({"a": [5, 6]}), TRUSTED)
    assert reasons(catalog, third) == {("entered", None): 2}


def test_a_file_is_taken_once_per_version(catalog: Catalog, drop_folder: Drop, textured: Take, encode: Encode) -> None:
    folder = drop_folder({"a": [1, 2, 3, 4]})
    whole = (folder / "a" / "001.png").read_bytes()
    (folder / "a" / "001.png").write_bytes(whole[:200])  # still being copied
    (first,) = pull(catalog, folder)
    assert reasons(catalog, first)["rejected", "unreadable"] == 1
    assert pull(catalog, folder) == []
    (folder / "a" / "001.png").write_bytes(whole)
    (second,) = pull(catalog, folder)
    assert reasons(catalog, second) == {("waiting", "unknown_label"): 1}


def test_a_copy_of_what_is_known_is_a_duplicate_and_no_reject(
    catalog: Catalog, drop_folder: Drop, tmp_path: Path
) -> None:
    folder = drop_folder({"a": [1, 2]})
    ingest_folder(catalog, folder, "evaluation")
    (folder / "a" / "new.png").write_bytes((drop_folder({"b": [3]}) / "b" / "003.png").read_bytes())
    (folder / "b" / "003.png").unlink()
    (batch_id,) = pull(catalog, folder)
    assert reasons(catalog, batch_id) == {("duplicate", None): 2, ("waiting", "certification"): 1}
    assert batch(catalog, batch_id).reject_share == 0


def test_faults_are_counted_by_reason_and_drawn(
    catalog: Catalog, drop_folder: Drop, textured: Take, encode: Encode, tmp_path: Path
) -> None:
    held_out = drop_folder({"a": [1]})
    ingest_folder(catalog, held_out.rename(tmp_path / "held out"), "evaluation")
    folder = drop_folder({"a": list(range(2, 20))})
    faults = {
        "near_evaluation": encode(textured(1).resize((192, 160)), "JPEG"),
        "near_duplicate": encode(textured(2), "JPEG", quality=60),
        "blank": encode(Image.new("RGB", (64, 64), "grey"), "PNG"),
        "blurred": encode(textured(50, (300, 300)).filter(ImageFilter.GaussianBlur(9)), "PNG"),
        "not_an_image": b"hello",
    }
    for name, content in faults.items():
        (folder / "a" / f"zz {name}").write_bytes(content)
    (folder / "notes.txt").write_text("beside the classes")
    (batch_id,) = pull(catalog, folder)
    rejected = {file.name: file.reason for file in files(catalog, batch_id) if file.outcome == "rejected"}
    assert rejected == {f"a/zz {name}": name for name in faults} | {"notes.txt": "outside_class_folder"}
    found = batch(catalog, batch_id)
    assert found.reject_share == pytest.approx(3 / 21)  # without the copies, and what lies beside the classes
    assert found.contact_sheet_key is not None
    with Image.open(BytesIO(catalog.store.get(found.contact_sheet_key))) as sheet:
        assert (sheet.format, sheet.width > 900) == ("JPEG", True)


def test_a_batch_with_too_many_rejects_waits_whatever_the_settings_and_raises_an_alert(
    catalog: Catalog, drop_folder: Drop, tmp_path: Path
) -> None:
    know_labels(catalog, drop_folder, tmp_path)
    folder = drop_folder({"a": [1, 2, 3, 4, 5, 6]})
    for number in range(5):
        (folder / "a" / f"bad {number}").write_bytes(b"no image")
    (batch_id,) = pull(catalog, folder, TRUSTED)
    assert reasons(catalog, batch_id) == {("waiting", "quarantine"): 6, ("rejected", "not_an_image"): 5}
    assert batch(catalog, batch_id).state == "quarantined"
    with catalog.begin() as connection:
        (alert,) = latest_alerts(connection, 5)
    assert (alert.kind, f"Batch {batch_id} is in quarantine: 5 of 11 files" in alert.title) == ("quarantine", True)
    assert "not_an_image 5" in alert.body and f"mycoflow batch certify {batch_id}" in alert.body
    assert decide(catalog, "certify", batch_id) == 6
    assert batch(catalog, batch_id).state == "done"


@pytest.mark.parametrize(("good", "bad"), [(14, 6), (2, 4)], ids=["the share", "a handful"])
def test_rejects_up_to_the_limits_are_no_quarantine(
    catalog: Catalog, drop_folder: Drop, tmp_path: Path, good: int, bad: int
) -> None:
    know_labels(catalog, drop_folder, tmp_path)
    folder = drop_folder({"a": list(range(good))})
    for number in range(bad):
        (folder / "a" / f"bad {number}").write_bytes(b"no image")
    (batch_id,) = pull(catalog, folder, TRUSTED)
    assert reasons(catalog, batch_id) == {("entered", None): good, ("rejected", "not_an_image"): bad}
    with catalog.begin() as connection:
        assert latest_alerts(connection, 5) == []


def test_licence_holder_and_group_are_kept_per_image(catalog: Catalog, textured: Take, encode: Encode) -> None:
    arrived = [
        ArrivedFile(
            f"{seed}", "1", "a", "walk 7", lambda seed=seed: encode(textured(seed), "PNG"), Rights("CC-BY", "Ada")
        )
        for seed in range(4)
    ]
    (batch_id,) = pull(catalog, ListedSource(arrived))
    with catalog.begin() as connection:
        kept = connection.execute(sa.select(image_rights.c.licence, image_rights.c.holder)).all()
    assert kept == [("CC-BY", "Ada")] * 4
    decide(catalog, "certify", batch_id)
    assert {row.group_key for row in rows(catalog)} == {"walk 7"}
    assert len({row.split for row in rows(catalog)}) == 1  # no split divides a group


def test_a_person_who_ingests_a_waiting_image_need_not_certify_it(catalog: Catalog, drop_folder: Drop) -> None:
    folder = drop_folder({"a": [1, 2]})
    (batch_id,) = pull(catalog, folder)
    assert ingest_folder(catalog, folder, "pool").accepted == 2
    assert {(row.split, row.label_origin, row.held_back) for row in rows(catalog)} == {("pool", "curated", None)}
    assert batch(catalog, batch_id).state == "done"


def test_the_same_image_under_another_label_is_rejected_while_it_waits(catalog: Catalog, drop_folder: Drop) -> None:
    folder = drop_folder({"a": [1, 2, 3]})
    pull(catalog, folder)
    (folder / "b").mkdir()
    (folder / "b" / "same.png").write_bytes((folder / "a" / "001.png").read_bytes())
    (batch_id,) = pull(catalog, folder)
    assert reasons(catalog, batch_id) == {("rejected", "conflicting_label"): 1}
    sha256 = rows(catalog)[0].id
    with catalog.begin() as connection:
        assert read_states(connection, [sha256])[sha256].annotation == Annotation(("a",))


@pytest.mark.parametrize(("decision", "taken", "is_out"), [("certify", 0, False), ("exclude", 2, True)])
def test_the_second_of_two_admins_decides_about_what_the_first_left(
    catalog: Catalog, drop_folder: Drop, decision: str, taken: int, is_out: bool
) -> None:
    """A rejection takes certified images out again, so it also counts after a certificate."""
    (batch_id,) = pull(catalog, drop_folder({"a": [1, 2]}))
    with ThreadPoolExecutor(1) as threads:
        with catalog.begin() as connection:
            assert decide_batches(connection, [batch_id], "certify", "ada", mirrored=True) == 2
            second = threads.submit(decide, catalog, decision, batch_id)
            wait_for_membership_lock(catalog)
        assert second.result(timeout=60) == taken
    assert {row.held_back for row in rows(catalog)} == {"excluded" if is_out else None}


def wait_for_membership_lock(catalog: Catalog) -> None:
    """Until somebody else waits for it."""
    waits = sa.text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    deadline = Deadline(60)
    while deadline.remaining():
        with catalog.begin() as connection:
            if connection.execute(waits).scalar_one():
                return
        time.sleep(0.05)
    raise AssertionError("Expected somebody to wait for the membership lock.")


def test_an_unknown_batch_is_an_error_and_changes_nothing(catalog: Catalog, drop_folder: Drop) -> None:
    (batch_id,) = pull(catalog, drop_folder({"a": [1]}))
    with pytest.raises(UnknownBatchError, match="got 99"):
        decide(catalog, "certify", batch_id, 99)
    assert batch(catalog, batch_id).waiting == 1


def test_an_empty_drop_folder_brings_nothing(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    assert pull(catalog, tmp_path / "drop") == []
