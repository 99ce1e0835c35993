"""Which images of the pool a snapshot takes."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.catalog.tables import snapshots
from ml.data.selection import Selection, SnapshotRules, parse_selection, select_labelled
from ml.data.snapshot_rules import create_snapshot
from ml.errors import SettingsError, SnapshotError
from ml.settings import Settings
from ml.training.recipes import Retrain, encode_recipe

AddImages = Callable[..., list[str]]
LONG_AGO, SINCE = datetime(2024, 1, 1, tzinfo=UTC), "since:2024-06-01"


def snap(catalog: Catalog, selection: str, size: int = 100, champion_classes: list[str] | None = None) -> Snapshot:
    rules = SnapshotRules(size, 0.2, 0.3, parse_selection(selection))
    with catalog.begin() as connection:
        return load_snapshot(connection, create_snapshot(connection, rules, champion_classes))


def counts(snapshot: Snapshot) -> Counter[str]:
    return Counter(image.annotation.label for image in snapshot.items)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("newest", Selection("newest")),
        ("balanced", Selection("balanced")),
        ("all", Selection("all")),
        ("since:2026-05-01", Selection("since", datetime(2026, 5, 1, tzinfo=UTC))),
        ("since:20260501", Selection("since", datetime(2026, 5, 1, tzinfo=UTC))),
        ("since:2026-05-01T06:30+02:00", Selection("since", datetime(2026, 5, 1, 4, 30, tzinfo=UTC))),
    ],
)
def test_a_selection_is_read_as_people_write_it(text: str, expected: Selection) -> None:
    assert parse_selection(text) == expected
    assert parse_selection(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "oldest",
        "since",
        "since:",
        "since:yesterday",
        "2026-05-01",
        "newest:2026-05-01",
        "until:2026-05-01",
        "since:2026-05-01T06",
    ],
)
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(SettingsError, match="since:2026-05-01"):
        Retrain(100, selection=text)


def test_the_selection_is_recorded_with_the_attempt(settings: Settings) -> None:
    assert encode_recipe(Retrain(100, selection="all").pin(settings, None))["selection"] == "all"


def test_balanced_takes_the_newest_of_each_class(catalog: Catalog, add_images: AddImages) -> None:
    old = set(add_images("a", 40, at=LONG_AGO))
    add_images("a", 40)
    add_images("b", 300)
    add_images("c", 20)
    taken = snap(catalog, "balanced", size=120)
    assert counts(taken) == {"a": 40, "b": 40, "c": 20}
    assert not old & {image.item_id for image in taken.items}
    assert counts(snap(catalog, "balanced", 80, ["a", "b"])) == {"a": 40, "b": 40}


def test_all_takes_all_whatever_the_size(catalog: Catalog, add_images: AddImages) -> None:
    add_images("a", 150)
    add_images("b", 60, at=LONG_AGO)
    assert counts(snap(catalog, "all", size=10)) == {"a": 150, "b": 60}


def test_since_takes_what_entered_from_then_on_and_tops_up_what_would_starve(
    catalog: Catalog, add_images: AddImages
) -> None:
    old = set(add_images("a", 50, at=LONG_AGO))
    add_images("rare", 80, at=LONG_AGO)
    add_images("a", 100)
    add_images("b", 100)
    taken = snap(catalog, SINCE, champion_classes=["a", "b", "rare"])
    assert counts(taken) == {"a": 100, "b": 100, "rare": 17}  # a quarter of an even share of 200
    assert not old & {image.item_id for image in taken.items}
    assert counts(snap(catalog, SINCE)) == {"a": 100, "b": 100}


def test_a_class_that_would_starve_gets_two_images_even_in_a_tiny_snapshot(
    catalog: Catalog, add_images: AddImages
) -> None:
    add_images("rare", 5, at=LONG_AGO)
    add_images("a", 50)
    with catalog.begin() as connection:
        rules = SnapshotRules(10, 0.2, 0.3)
        chosen = select_labelled(connection, rules, ["a", "b", "c", "d", "e", "rare"])
    shown = Counter(item.annotation.label for item in chosen)
    assert shown == {"a": 10, "rare": 2}


def test_a_class_whose_newest_images_are_one_group_gets_an_image_of_another(
    catalog: Catalog, add_images: AddImages
) -> None:
    add_images("a", 1, at=LONG_AGO, group="oldest")
    (other,) = add_images("a", 1, at=datetime(2024, 2, 1, tzinfo=UTC), group="old")
    walk = add_images("a", 10, group="walk")
    add_images("b", 10)
    with catalog.begin() as connection:
        chosen = select_labelled(connection, SnapshotRules(20, 0.2, 0.3), ["a", "b"])
    assert {item.item_id for item in chosen if item.annotation.label == "a"} == {*walk, other}


@pytest.mark.parametrize(
    ("size", "classes", "expected"), [(None, 3, 1000), (None, 10, 1000), (None, 25, 2500), (40, 3, 40), (40, 250, 40)]
)
def test_a_size_that_nobody_set_grows_with_the_classes(size: int | None, classes: int, expected: int) -> None:
    assert SnapshotRules(size, 0.2, 0.3).size_for(classes) == expected
    assert SnapshotRules(size, 0.2, 0.3, Selection("balanced")).size_for(classes) == expected
    assert SnapshotRules(size, 0.2, 0.3, Selection("all")).size_for(classes) is None


def test_since_takes_what_entered_at_that_very_moment(catalog: Catalog, add_images: AddImages) -> None:
    for label in "ab":
        add_images(label, 50, at=datetime(2024, 6, 1, tzinfo=UTC))
    assert counts(snap(catalog, SINCE)) == {"a": 50, "b": 50}


def test_a_date_after_which_nothing_came_is_refused(catalog: Catalog, add_images: AddImages) -> None:
    add_images("a", 50, at=LONG_AGO)
    add_images("b", 50, at=LONG_AGO)
    with pytest.raises(SnapshotError, match="since:2024-06-01"):
        snap(catalog, SINCE)
    with pytest.raises(SnapshotError, match="found none"):
        snap(catalog, SINCE, champion_classes=["a", "b"])


def test_balanced_over_more_classes_than_images_says_so(catalog: Catalog, add_images: AddImages) -> None:
    for label in "abc":
        add_images(label, 30)
    with pytest.raises(SnapshotError, match=r"at least 3 images for the selection balanced.* got a size of 2"):
        snap(catalog, "balanced", size=2)


def test_a_remedy_names_a_date_only_where_there_is_one(catalog: Catalog) -> None:
    with pytest.raises(SnapshotError, match=r"found none\. Ingest more"):
        snap(catalog, "newest", champion_classes=["a", "b"])


@pytest.mark.parametrize(("selection", "size"), [("newest", 30), ("balanced", 30), ("all", 100), (SINCE, 100)])
def test_a_snapshot_remembers_how_it_was_made(
    catalog: Catalog, add_images: AddImages, selection: str, size: int
) -> None:
    add_images("a", 85)
    add_images("b", 15)
    taken = snap(catalog, selection, size=30)
    with catalog.begin() as connection:
        row = connection.execute(sa.select(snapshots).where(snapshots.c.id == taken.id)).one()
    assert (parse_selection(row.strategy), row.requested_size) == (parse_selection(selection), size)
