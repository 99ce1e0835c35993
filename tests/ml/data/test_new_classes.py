"""A label that is new to the champion becomes a class once enough images have it; some are held out first."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.catalog.tables import events, items
from ml.data.membership import RECENT_SHARE, is_held_out, share_position
from ml.data.new_classes import choose_groups
from ml.data.selection import SnapshotRules
from ml.data.snapshot_rules import create_snapshot

AddImages = Callable[..., list[str]]
CHAMPION = ["a", "b"]
RULES = SnapshotRules(size=1000, validation_ratio=0.2, harvest_share=0.3)


@pytest.fixture
def add_new(add_images: AddImages) -> AddImages:
    """A pool with the champion's classes. Adds images of another label."""
    for label in CHAMPION:
        add_images(label, 40)

    def add(count: int, **what: object) -> list[str]:
        return add_images("new", count, **what)

    return add


def snap(catalog: Catalog, champion_classes: list[str] | None = CHAMPION) -> Snapshot:
    with catalog.begin() as connection:
        return load_snapshot(connection, create_snapshot(connection, RULES, champion_classes))


def held_out(catalog: Catalog) -> set[str]:
    """Images that the evaluation set was given; their groups have the same names."""
    with catalog.begin() as connection:
        query = sa.select(items.c.id).where(items.c.evaluation_part == "recent", items.c.class_names == ["new"])
        return set(connection.scalars(query))


def test_a_new_label_gives_the_evaluation_set_its_share_and_joins(catalog: Catalog, add_new: AddImages) -> None:
    added = set(add_new(50))
    taken = snap(catalog)
    given = held_out(catalog)
    assert taken.classes == ("a", "b", "new")
    assert len(given) >= 10
    assert {image.item_id for image in taken.items if image.annotation.label == "new"} == added - given
    assert max(map(share_position, given)) < min(map(share_position, added - given))


def test_a_large_label_gives_the_permanent_share(catalog: Catalog, add_new: AddImages) -> None:
    added = add_new(300)
    snap(catalog)
    assert held_out(catalog) == {sha256 for sha256 in added if is_held_out(sha256)}
    assert len(held_out(catalog)) / 300 == pytest.approx(RECENT_SHARE, abs=0.07)  # three standard deviations


def test_what_was_held_out_is_in_the_audit_log(catalog: Catalog, add_new: AddImages) -> None:
    add_new(50)
    snap(catalog)
    with catalog.begin() as connection:
        event = connection.execute(sa.select(events).where(events.c.kind == "class.held_out")).one()
    assert (event.detail["label"], event.detail["images"]) == ("new", len(held_out(catalog)))
    assert set(event.detail["groups"]) == held_out(catalog)


def test_the_class_stays_and_gives_no_more_after_a_challenger_was_rejected(
    catalog: Catalog, add_new: AddImages
) -> None:
    add_new(50)
    first, given = snap(catalog), held_out(catalog)
    second = snap(catalog)
    assert (second.classes, held_out(catalog)) == (first.classes, given)


def test_harvested_images_make_no_class(catalog: Catalog, add_new: AddImages) -> None:
    add_new(49)
    add_new(100, origin="harvested")
    assert snap(catalog).classes == ("a", "b")
    assert held_out(catalog) == set()


def test_what_was_given_with_the_data_spares_the_pool(catalog: Catalog, add_new: AddImages) -> None:
    add_new(50)
    add_new(10, split="evaluation", part="anchor")
    assert snap(catalog).classes == ("a", "b", "new")
    assert held_out(catalog) == set()


def test_nothing_that_a_snapshot_ever_held_is_held_out(catalog: Catalog, add_new: AddImages) -> None:
    add_new(60)
    assert "new" in snap(catalog, champion_classes=None).classes
    assert snap(catalog).classes == ("a", "b")
    assert held_out(catalog) == set()
    fresh = add_new(10)
    assert "new" in snap(catalog).classes
    assert held_out(catalog) == set(fresh)


def test_a_group_with_another_label_in_it_is_not_held_out(
    catalog: Catalog, add_new: AddImages, add_images: AddImages
) -> None:
    for number in range(60):
        add_new(1, group=f"walk {number}")
    for number in range(50):
        add_images("a", 1, group=f"walk {number}")
    assert "new" in snap(catalog).classes
    with catalog.begin() as connection:
        query = sa.select(items.c.group_key).where(items.c.evaluation_part == "recent")
        assert set(connection.scalars(query)) == {f"walk {number}" for number in range(50, 60)}


@pytest.mark.parametrize("sizes", [[50], [45, 1, 1, 1, 1, 1]])
def test_a_label_of_few_groups_waits(catalog: Catalog, add_new: AddImages, sizes: list[int]) -> None:
    # The large group comes first in the order of the share: with it, more would go than stays.
    names = sorted((f"walk {number}" for number in range(len(sizes))), key=share_position)
    for name, size in zip(names, sizes, strict=True):
        add_new(size, group=name)
    assert snap(catalog).classes == ("a", "b")
    assert held_out(catalog) == set()


def test_a_new_label_that_misses_a_fold_waits_and_stops_nobody(catalog: Catalog, add_new: AddImages) -> None:
    add_new(50, group="walk")
    add_new(10, split="evaluation", part="anchor")
    taken = snap(catalog)
    assert taken.classes == ("a", "b")
    assert {image.annotation.label for image in taken.items} == {"a", "b"}


def test_a_label_that_waits_is_told_and_leaves_no_image_wherever_it_stands_in_the_alphabet(
    catalog: Catalog, add_images: AddImages, caplog: pytest.LogCaptureFixture
) -> None:
    for label in ("a", "m"):
        add_images(label, 40)
    for label in ("0", "b", "z"):
        add_images(label, 50, group="walk")
        add_images(label, 10, split="evaluation", part="anchor")
    taken = snap(catalog, ["a", "m"])
    assert taken.classes == ("a", "m")
    assert {image.annotation.label for image in taken.items} == {"a", "m"}
    assert caplog.messages == [
        f"The label '{label}' waits for images of another group: all 50 images of '{label}' are in the group 'walk'."
        for label in "0bz"
    ]


def test_groups_are_chosen_whole_by_hash_until_there_are_enough() -> None:
    kept = [name for name in map(str, range(1000)) if not is_held_out(name)][:20]
    shared = next(name for name in map(str, range(1000)) if is_held_out(name))
    in_order = sorted(kept, key=share_position)
    assert choose_groups(dict.fromkeys(kept, 4), 10) == in_order[:3]
    assert choose_groups({shared: 4, **dict.fromkeys(kept, 4)}, 3) == [shared]
    assert choose_groups({shared: 4}, 10) == [shared]
    assert choose_groups({}, 10) == []
