import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from ml.catalog import locks
from ml.catalog.database import Catalog
from ml.catalog.images.label_origins import NewImages
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.catalog.tables import items
from ml.data import pool
from ml.data.selection import SnapshotRules
from ml.data.snapshot_rules import count_new_images, create_snapshot
from ml.errors import SnapshotError

AddImages = Callable[..., list[str]]
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
RULES = SnapshotRules(size=1000, validation_ratio=0.2, harvest_share=0.3)


def snap(
    catalog: Catalog, size: int = 1000, champion_classes: list[str] | None = None, harvest_share: float = 0.3
) -> Snapshot:
    rules = SnapshotRules(size=size, validation_ratio=0.2, harvest_share=harvest_share)
    with catalog.begin() as connection:
        return load_snapshot(connection, create_snapshot(connection, rules, champion_classes))


def test_a_snapshot_holds_the_newest_images(catalog: Catalog, add_images: AddImages) -> None:
    old = set(add_images("a", 50, at=LONG_AGO)) | set(add_images("b", 50, at=LONG_AGO))
    new = set(add_images("a", 50)) | set(add_images("b", 50))
    chosen = {image.item_id for image in snap(catalog, size=100).items}
    assert chosen == new
    assert not chosen & old


def test_the_folds_are_eighty_to_twenty(catalog: Catalog, add_images: AddImages) -> None:
    add_images("a", 500)
    add_images("b", 500)
    folds = Counter(image.fold for image in snap(catalog).items)
    assert folds == {"train": 800, "validation": 200}


def test_an_image_never_changes_sides_from_one_snapshot_to_the_next(catalog: Catalog, add_images: AddImages) -> None:
    add_images("a", 60)
    add_images("b", 60)
    first = {image.item_id: image.fold for image in snap(catalog).items}
    add_images("a", 30)
    add_images("c", 60)
    second = {image.item_id: image.fold for image in snap(catalog).items}
    assert all(second[sha256] == fold for sha256, fold in first.items())


def test_a_group_is_never_divided(catalog: Catalog, add_images: AddImages) -> None:
    for number in range(60):
        add_images("a", 3, group=f"observation {number}")
        add_images("b", 1, group=f"observation {number}", origin="harvested")
    add_images("b", 40)
    with catalog.begin() as connection:
        groups = dict(connection.execute(sa.select(items.c.id, items.c.group_key)).tuples().all())
    folds: dict[str, set[str]] = {}
    for image in snap(catalog).items:
        folds.setdefault(groups[image.item_id], set()).add(image.fold)
    assert all(len(sides) == 1 for sides in folds.values())
    assert Counter(min(sides) for key, sides in folds.items() if key.startswith("observation")).keys() == {
        "train",
        "validation",
    }


def test_harvested_labels_stay_out_of_validation_and_under_their_share(catalog: Catalog, add_images: AddImages) -> None:
    add_images("a", 70)
    add_images("a", 200, origin="harvested")
    add_images("b", 70)
    rows = snap(catalog).items
    harvested = [image for image in rows if image.label_origin == "harvested"]
    of_a = [image for image in rows if image.annotation.label == "a"]
    assert {image.fold for image in harvested} == {"train"}
    assert len(harvested) == 0.3 * (70 + 30)
    assert len(harvested) / len(of_a) <= 0.3


def test_a_class_that_the_newest_would_starve_is_topped_up(catalog: Catalog, add_images: AddImages) -> None:
    rare = add_images("rare", 100, at=LONG_AGO)
    add_images("common", 200)
    chosen = snap(catalog, size=200, champion_classes=["common", "rare"])
    counts = Counter(image.annotation.label for image in chosen.items)
    assert counts == {"common": 200, "rare": 25}  # a quarter of an even share
    assert {image.item_id for image in chosen.items if image.annotation.label == "rare"} <= set(rare)


def test_a_label_the_champion_does_not_know_waits_until_it_qualifies(catalog: Catalog, add_images: AddImages) -> None:
    for label in ("a", "b"):
        add_images(label, 40)
    add_images("new", 49)
    add_images("new", 10, split="evaluation", part="anchor")
    assert snap(catalog, champion_classes=["a", "b"]).classes == ("a", "b")
    add_images("new", 1)
    assert snap(catalog, champion_classes=["a", "b"]).classes == ("a", "b", "new")


@pytest.mark.parametrize(("labels", "found"), [([], r"found 0 \(none\)"), (["only"], r"found 1 \('only'\)")])
def test_fewer_than_two_classes_are_refused(
    catalog: Catalog, add_images: AddImages, labels: list[str], found: str
) -> None:
    for label in labels:
        add_images(label, 30)
    with pytest.raises(SnapshotError, match=f"at least two classes in the pool, {found}"):
        snap(catalog)


def test_a_class_too_small_for_both_folds_is_named(catalog: Catalog, add_images: AddImages) -> None:
    add_images("a", 50)
    add_images("tiny", 1)
    with pytest.raises(SnapshotError, match=r"Received: 'tiny' has 1 image that a person labelled\. Ingest images of"):
        snap(catalog)
    with catalog.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM training.snapshots")).scalar_one() == 0


def test_what_enters_while_a_snapshot_is_pinned_waits_and_counts_as_new(
    catalog: Catalog, add_images: AddImages
) -> None:
    add_images("a", 1)
    is_waiting = threading.Event()

    def write() -> None:
        with catalog.begin() as connection:
            is_waiting.set()
            locks.lock_pool_for_writing(connection)
            connection.execute(sa.update(items).values(entered_pool_at=sa.func.clock_timestamp()))

    writer = threading.Thread(target=write)
    with catalog.begin() as connection:
        cutoff = locks.lock_pool_for_snapshot(connection)
        writer.start()
        is_waiting.wait(60)
        writer.join(0.2)
        assert writer.is_alive()
        assert count_new_images(connection, cutoff, RULES, ["a"]).total == 0
    writer.join(60)
    with catalog.begin() as connection:
        assert count_new_images(connection, cutoff, RULES, ["a"]) == NewImages(human=1, harvested=0)


def test_the_pool_state_changes_with_the_members_and_with_the_labels(catalog: Catalog, add_images: AddImages) -> None:
    def state() -> str:
        with catalog.begin() as connection:
            return pool.pool_state(connection)

    add_images("a", 1)
    before = state()
    assert state() == before
    (sha256,) = add_images("a", 1)
    after = state()
    assert after != before
    with catalog.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO training.annotations (item_id, class_names, origin, said_by) "
                "VALUES (:i, '{b}', 'confirmed', 'x')"
            ),
            {"i": sha256},
        )
    assert state() != after
