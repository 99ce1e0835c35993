"""People's labels are there whatever was harvested; harvested images fill what is left, and count where they do."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.label_origins import NewImages
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.catalog.tables import items
from ml.data import pool
from ml.data.selection import SnapshotRules, most_harvested, parse_selection, select_items
from ml.data.snapshot_rules import count_new_images, create_snapshot
from ml.errors import SnapshotError

AddImages = Callable[..., list[str]]
LONG_AGO, LATER = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)
SELECTIONS = ["newest", "balanced", "all", "since:2023-06-01"]
CLASSES = ["a", "b"]


def rules(selection: str = "newest", size: int = 200) -> SnapshotRules:
    return SnapshotRules(size, validation_ratio=0.2, harvest_share=0.3, selection=parse_selection(selection))


def snap(
    catalog: Catalog, selection: str = "newest", size: int = 200, classes: Sequence[str] | None = CLASSES
) -> Snapshot:
    with catalog.begin() as connection:
        return load_snapshot(connection, create_snapshot(connection, rules(selection, size), classes))


def counts(snapshot: Snapshot) -> dict[tuple[str, str], int]:
    """(label, human or harvested) -> images."""
    origins = {"curated": "human", "confirmed": "human", "harvested": "harvested"}
    return dict(Counter((image.annotation.label, origins[image.label_origin]) for image in snapshot.items))


def count_new(catalog: Catalog, since: datetime, size: int = 200) -> NewImages:
    with catalog.begin() as connection:
        return count_new_images(connection, since, rules(size=size), CLASSES)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("harvested", [{}, {"a": 1100}, {"a": 550, "b": 550}, {"a": 30, "b": 1}])
def test_newer_harvested_images_push_nobodys_label_aside(
    catalog: Catalog, add_images: AddImages, selection: str, harvested: dict[str, int]
) -> None:
    people = {*add_images("a", 100, at=LONG_AGO), *add_images("b", 100, "confirmed", at=LONG_AGO)}
    for label, count in harvested.items():
        add_images(label, count, "harvested", at=LATER)
    taken = snap(catalog, selection)
    assert people <= {image.item_id for image in taken.items}
    assert {image.fold for image in taken.items if image.label_origin == "harvested"} <= {"train"}


@pytest.mark.parametrize("at", [LATER, datetime(2023, 1, 1, tzinfo=UTC)], ids=["newer", "older"])
def test_harvested_images_fill_what_people_leave_free_up_to_their_share(
    catalog: Catalog, add_images: AddImages, at: datetime
) -> None:
    add_images("a", 70, at=LONG_AGO)
    add_images("b", 14, at=LONG_AGO)
    for label in CLASSES:
        add_images(label, 400, "harvested", at=at)
    whole = {("a", "human"): 70, ("a", "harvested"): 30, ("b", "human"): 14, ("b", "harvested"): 6}
    assert counts(snap(catalog)) == whole
    assert counts(snap(catalog, "all")) == whole
    assert counts(snap(catalog, "all", 10)) == whole
    # There is room for 50 of each class.
    assert counts(snap(catalog, "balanced", 100)) == {("a", "human"): 50, ("b", "human"): 14, ("b", "harvested"): 6}
    assert counts(snap(catalog, "balanced", 36)) == {("a", "human"): 18, ("b", "human"): 14, ("b", "harvested"): 4}


def test_balanced_fills_no_class_beyond_its_even_share_for_one_that_has_too_few(
    catalog: Catalog, add_images: AddImages
) -> None:
    add_images("a", 10, at=LONG_AGO)
    add_images("b", 14, at=LONG_AGO)
    for label in CLASSES:
        add_images(label, 400, "harvested", at=LATER)
    filled = {("a", "human"): 10, ("a", "harvested"): 4, ("b", "human"): 14, ("b", "harvested"): 4}
    assert counts(snap(catalog, "balanced", 36)) == filled


def test_a_single_place_is_filled(catalog: Catalog, add_images: AddImages) -> None:
    for label in CLASSES:
        add_images(label, 50, at=LONG_AGO)
        add_images(label, 20, "harvested", at=LATER)
    assert [sum(counts(snap(catalog, size=size)).values()) for size in (99, 100, 101, 102)] == [99, 100, 101, 102]


def test_the_newest_of_all_classes_fill_little_room(catalog: Catalog, add_images: AddImages) -> None:
    add_images("a", 50, at=LONG_AGO)
    add_images("b", 50, at=LONG_AGO)
    old = add_images("a", 100, "harvested", at=LATER)
    new = add_images("b", 100, "harvested", at=LATER + timedelta(days=1))
    filled = counts(snap(catalog, size=110))
    assert filled == {("a", "human"): 50, ("b", "human"): 50, ("b", "harvested"): 10}
    taken = {image.item_id for image in snap(catalog, size=125).items}
    assert (len(taken & set(old)), len(taken & set(new))) == (4, 21)


def test_the_newest_harvested_images_of_a_class_come_first(catalog: Catalog, add_images: AddImages) -> None:
    for label in CLASSES:
        add_images(label, 70, at=LONG_AGO)
    older = set(add_images("a", 100, "harvested", at=LATER))
    newer = set(add_images("a", 20, "harvested", at=LATER + timedelta(days=1)))
    taken = {image.item_id for image in snap(catalog).items}
    assert newer <= taken
    assert len(taken & older) == 30 - len(newer)


def test_harvested_images_before_the_date_stay_out(catalog: Catalog, add_images: AddImages) -> None:
    for label in CLASSES:
        add_images(label, 70, at=LATER)
    add_images("a", 100, "harvested", at=LONG_AGO)
    assert counts(snap(catalog, "since:2024-06-01")) == {("a", "human"): 70, ("b", "human"): 70}


def test_a_large_harvested_group_of_the_validation_fold_does_not_hide_the_others(
    catalog: Catalog, add_images: AddImages
) -> None:
    for label in CLASSES:
        add_images(label, 70, at=LONG_AGO)
    add_images("a", 40, "harvested", at=LONG_AGO)
    held = next(image for image in snap(catalog, classes=None).items if image.fold == "validation")
    hidden = set(add_images("a", 1200, "harvested", at=LATER, group=held.item_id))
    taken = snap(catalog)
    assert counts(taken)["a", "harvested"] == 30
    assert not hidden & {image.item_id for image in taken.items}


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_class_with_few_human_labels_is_not_drowned_in_guesses(
    catalog: Catalog, add_images: AddImages, selection: str
) -> None:
    add_images("a", 100, at=LONG_AGO)
    add_images("b", 10, at=LONG_AGO)
    add_images("b", 500, "harvested", at=LATER)
    taken = counts(snap(catalog, selection))
    assert (taken["b", "human"], taken["b", "harvested"]) == (10, 4)


def test_a_class_that_is_topped_up_gets_people_s_labels(catalog: Catalog, add_images: AddImages) -> None:
    rare = set(add_images("b", 100, at=LONG_AGO))
    for label in CLASSES:
        add_images(label, 300, "harvested", at=LATER)
    add_images("a", 300, at=LATER)
    taken = snap(catalog)
    assert counts(taken) == {("a", "human"): 200, ("b", "human"): 25}
    assert {image.item_id for image in taken.items if image.annotation.label == "b"} <= rare


def test_labels_that_are_no_class_take_no_room(catalog: Catalog, add_images: AddImages) -> None:
    for label in CLASSES:
        add_images(label, 100, at=LONG_AGO)
    for number in range(10):
        add_images(f"rare {number}", 49, at=LATER)
    assert counts(snap(catalog)) == {("a", "human"): 100, ("b", "human"): 100}


def test_guesses_make_no_class_of_a_first_model(catalog: Catalog, add_images: AddImages) -> None:
    for label in CLASSES:
        add_images(label, 50, at=LONG_AGO)
    add_images("c", 200, "harvested", at=LATER)
    assert snap(catalog, classes=None).classes == ("a", "b")


def test_guesses_alone_make_no_snapshot(catalog: Catalog, add_images: AddImages) -> None:
    for label in CLASSES:
        add_images(label, 200, "harvested")
    with pytest.raises(SnapshotError, match="people labelled"):
        snap(catalog)


def test_what_people_brought_counts_as_new_and_is_told_apart(catalog: Catalog, add_images: AddImages) -> None:
    add_images("a", 40, at=LONG_AGO)
    add_images("b", 40, at=LONG_AGO)
    add_images("a", 2, at=LATER)
    add_images("b", 4, "confirmed", at=LATER)
    add_images("b", 1100, "harvested", at=LATER)
    # 44 images of b that people labelled let 18 harvested ones in.
    assert count_new(catalog, LONG_AGO) == NewImages(human=6, harvested=18)
    assert count_new(catalog, LATER) == NewImages(human=0, harvested=0)


def test_harvested_images_that_were_there_before_are_not_new(catalog: Catalog, add_images: AddImages) -> None:
    for label in CLASSES:
        add_images(label, 60, at=LONG_AGO)
    add_images("a", 10, "harvested", at=LATER)
    add_images("b", 20, "harvested", at=LATER + timedelta(days=2))
    taken = [image for image in snap(catalog).items if image.label_origin == "harvested"]
    of_b = sum(image.annotation.label == "b" for image in taken)
    assert 0 < of_b < len(taken)
    assert count_new(catalog, LATER + timedelta(days=1)) == NewImages(human=0, harvested=of_b)


def test_harvested_images_are_there_since_a_moment_only_if_they_entered_after_it(
    catalog: Catalog, add_images: AddImages
) -> None:
    add_images("a", 1, "harvested", at=LONG_AGO)
    add_images("a", 1, "harvested", at=LATER)
    add_images("a", 1, at=LATER + timedelta(days=1))
    with catalog.begin() as connection:
        assert pool.is_harvested_since(connection, LATER - timedelta(days=1))
        assert not pool.is_harvested_since(connection, LATER)


@pytest.mark.parametrize("harvested", [{"a": 1100}, {"a": 600, "b": 600}])
def test_guesses_that_no_snapshot_would_take_ask_for_no_night(
    catalog: Catalog, add_images: AddImages, harvested: dict[str, int]
) -> None:
    add_images("a", 100, at=LONG_AGO)
    add_images("b", 100, at=LONG_AGO)
    for label, count in harvested.items():
        add_images(label, count, "harvested", at=LATER)
    assert count_new(catalog, LONG_AGO) == NewImages(human=0, harvested=0)
    assert count_new(catalog, LONG_AGO, size=220) == NewImages(human=0, harvested=20)


def test_more_people_s_images_than_a_snapshot_holds_are_all_new(catalog: Catalog, add_images: AddImages) -> None:
    add_images("a", 300, at=LATER)
    assert count_new(catalog, LONG_AGO).human == 300


@pytest.mark.parametrize(("of_the_new_label", "counted"), [(49, 0), (50, 50)])
def test_a_label_counts_once_it_can_become_a_class(
    catalog: Catalog, add_images: AddImages, of_the_new_label: int, counted: int
) -> None:
    add_images("new", of_the_new_label, at=LATER)
    assert count_new(catalog, LONG_AGO).human == counted


@pytest.mark.parametrize("share", ["0", "0.1", "0.2", "0.3", "0.5", "0.9"])
def test_the_share_of_harvested_images_is_exact(share: str) -> None:
    for labelled in range(500):
        most = most_harvested(labelled, float(share))
        assert most <= Fraction(share) * (most + labelled)
        assert most + 1 > Fraction(share) * (most + 1 + labelled)


def test_a_starved_class_is_topped_up_to_two_at_least_and_takes_no_guesses_beyond(
    catalog: Catalog, add_images: AddImages
) -> None:
    for label in CLASSES:
        add_images(label, 10, at=LONG_AGO)
        add_images(label, 10, "harvested", at=LATER)
    with catalog.begin() as connection:
        taken = select_items(connection, rules("balanced", size=2), CLASSES).items
    assert Counter((image.annotation.label, image.label_origin) for image in taken) == {
        ("a", "curated"): 2,
        ("b", "curated"): 2,
    }
    for label in ("c", "d"):
        add_images(label, 1, at=LONG_AGO)
    with catalog.begin() as connection:  # one of each, one more of two: a place is left, of neither
        taken = select_items(connection, rules("balanced", size=7), [*CLASSES, "c", "d"]).items
    assert Counter(image.annotation.label for image in taken) == {"a": 2, "b": 2, "c": 1, "d": 1}


@pytest.mark.parametrize("size", [100, 200, 300])
def test_the_count_of_harvested_images_is_that_of_the_next_snapshot(
    catalog: Catalog, add_images: AddImages, size: int
) -> None:
    for label in CLASSES:
        add_images(label, 60, at=LONG_AGO)
        add_images(label, 10, "harvested", at=LONG_AGO)
    add_images("a", 15, "harvested", at=LATER)
    counted = count_new(catalog, LONG_AGO, size).harvested
    with catalog.begin() as connection:
        is_new = sa.select(items.c.id).where(items.c.entered_pool_at > LONG_AGO)
        new = set(connection.scalars(is_new))
    assert counted == len(new & {image.item_id for image in snap(catalog, size=size).items})
