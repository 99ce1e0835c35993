"""How groups are divided into folds, with many classes, few images and large groups."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.catalog.tables import items, snapshots
from ml.data.selection import SnapshotRules
from ml.data.snapshot_rules import create_snapshot, nightly_rules
from ml.errors import SnapshotError
from ml.settings import default_settings

AddImages = Callable[..., list[str]]
BY_DEFAULT = nightly_rules(default_settings())


def snap(catalog: Catalog, rules: SnapshotRules = BY_DEFAULT, champion_classes: list[str] | None = None) -> Snapshot:
    with catalog.begin() as connection:
        return load_snapshot(connection, create_snapshot(connection, rules, champion_classes))


def count_folds(snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    """Class -> number of images in train and in validation."""
    counts = Counter((name, image.fold) for image in snapshot.items for name in set(image.annotation.class_names))
    return {name: (counts[name, "train"], counts[name, "validation"]) for name in snapshot.classes}


def requested_size(catalog: Catalog, snapshot: Snapshot) -> int:
    with catalog.begin() as connection:
        size: int = connection.execute(
            sa.select(snapshots.c.requested_size).where(snapshots.c.id == snapshot.id)
        ).scalar_one()
    return size


@pytest.mark.parametrize("selection", [None, "a"], ids=["first", "champion"])
def test_a_hundred_classes_of_sixty_photos_are_all_taken_and_divided(
    catalog: Catalog, add_images: AddImages, selection: str | None
) -> None:
    names = [f"species {number:03}" for number in range(100)]
    for name in names:
        add_images(name, 60)
    taken = snap(catalog, champion_classes=names if selection else None)
    assert count_folds(taken) == dict.fromkeys(names, (48, 12))
    assert requested_size(catalog, taken) == 10_000


@pytest.mark.parametrize(("classes", "size"), [(2, 1000), (10, 1000), (11, 1100), (121, 12_100)])
def test_the_size_grows_with_the_classes_unless_it_is_set(
    catalog: Catalog, add_images: AddImages, classes: int, size: int
) -> None:
    for number in range(classes):
        add_images(f"species {number}", 3)
    assert requested_size(catalog, snap(catalog)) == size
    assert requested_size(catalog, snap(catalog, SnapshotRules(500, 0.2, 0.3))) == 500


def test_a_size_that_is_set_takes_no_more_and_divides_each_class(catalog: Catalog, add_images: AddImages) -> None:
    names = [f"species {number:03}" for number in range(40)]
    for number in range(60):
        for name in names:
            add_images(name, 1, group=f"{name} {number}")
    folds = count_folds(snap(catalog, SnapshotRules(400, 0.2, 0.3)))
    assert sum(map(sum, folds.values())) >= 400
    assert all(train and validation for train, validation in folds.values())


@pytest.mark.parametrize(
    ("sizes", "folds"),
    [
        ([1, 1], (1, 1)),
        ([1, 1, 1], (2, 1)),
        ([1] * 5, (4, 1)),
        ([59, 1], (59, 1)),
        ([30, 30], (30, 30)),
        ([50, *[1] * 10], (50, 10)),
        ([3] * 20, (48, 12)),
    ],
)
def test_a_class_comes_as_close_to_the_ratio_as_its_groups_allow(
    catalog: Catalog, add_images: AddImages, sizes: list[int], folds: tuple[int, int]
) -> None:
    add_images("other", 60)
    for number, size in enumerate(sizes):
        add_images("boletus", size, group=f"walk {number}")
    assert count_folds(snap(catalog)) == {"boletus": folds, "other": (48, 12)}


@pytest.mark.parametrize("ratio", [0.01, 0.2, 0.5, 0.9, 0.99])
def test_any_ratio_leaves_images_of_each_class_in_both_folds(
    catalog: Catalog, add_images: AddImages, ratio: float
) -> None:
    for name, count in {"a": 2, "b": 7, "c": 200}.items():
        add_images(name, count)
    folds = count_folds(snap(catalog, SnapshotRules(None, ratio, 0.3)))
    assert all(train and validation for train, validation in folds.values())
    assert folds["c"][1] == pytest.approx(200 * ratio, abs=1)


def test_all_photos_of_a_class_in_one_group_is_said_with_names_in_quotes(
    catalog: Catalog, add_images: AddImages
) -> None:
    add_images("amanita", 60)
    add_images("boletus edulis", 60, group="walk 1")
    with pytest.raises(SnapshotError, match=r"all 60 images of 'boletus edulis' are in the group 'walk 1'\. Ingest"):
        snap(catalog)
    add_images("boletus edulis", 1, group="walk 2")
    assert count_folds(snap(catalog))["boletus edulis"] == (60, 1)


def test_many_classes_without_two_groups_are_told_in_few_words(catalog: Catalog, add_images: AddImages) -> None:
    for number in range(30):
        add_images(f"species {number:02}", 1)
    with pytest.raises(SnapshotError, match=r"'species 09' has 1 image .*; and 20 classes more\. Ingest"):
        snap(catalog)


def test_a_small_snapshot_takes_an_older_image_of_another_group(catalog: Catalog, add_images: AddImages) -> None:
    names = ["a", "b"]
    for name in names:
        add_images(name, 60)
    for name in names:
        add_images(name, 40, group=f"{name} today")
    folds = count_folds(snap(catalog, SnapshotRules(40, 0.2, 0.3), names))
    assert all(train and validation for train, validation in folds.values())


def test_groups_that_no_division_satisfies_are_the_cause(catalog: Catalog, add_images: AddImages) -> None:
    for first, second, group in (("a", "b", "1"), ("b", "c", "2"), ("a", "c", "3")):
        add_images(first, 5, group=group)
        add_images(second, 5, group=group)
    with pytest.raises(SnapshotError, match=r"the 2 groups of '[abc]' hold images of other classes too"):
        snap(catalog)


def test_folds_stay_when_images_come_go_and_change_their_class(catalog: Catalog, add_images: AddImages) -> None:
    choice, names = random.Random(0), [f"species {number}" for number in range(12)]
    for name in names:
        add_images(name, 12)
    sides: dict[str, set[str]] = defaultdict(set)
    for night in range(15):
        for name in choice.sample(names, 4):
            add_images(name, choice.randint(1, 9), group=f"{name}, night {night // 2}")
        with catalog.begin() as connection:
            known = sorted(connection.scalars(sa.select(items.c.id)))
            gone = sa.update(items).where(items.c.id.in_(choice.sample(known, 2)))
            connection.execute(gone.values(class_names=[choice.choice(names)]))
        taken = snap(catalog)
        for image in taken.items:
            sides[image.item_id].add(image.fold)
        for train, validation in count_folds(taken).values():
            assert 0 < validation < train
        folds = Counter(image.fold for image in taken.items)
        assert folds["validation"] / folds.total() == pytest.approx(0.2, abs=0.07)
    assert {len(folds) for folds in sides.values()} == {1}


def test_a_class_whose_groups_were_all_learned_gives_one_up_for_validation(
    catalog: Catalog, add_images: AddImages
) -> None:
    for name in ("a", "b"):
        add_images(name, 60)
    learned = [image.item_id for image in snap(catalog).items if image.fold == "train"][:20]
    with catalog.begin() as connection:
        connection.execute(sa.update(items).where(items.c.id.in_(learned)).values(class_names=["c"]))
    assert count_folds(snap(catalog))["c"] == (19, 1)
