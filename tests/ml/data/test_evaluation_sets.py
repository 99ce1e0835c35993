"""Versions of the evaluation set: the same content has the same number, and other content never has."""

import hashlib
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.tables import evaluation_set_items, evaluation_sets, items
from ml.data import membership
from ml.data.evaluation_sets import (
    RECENT_DECIDES_FROM,
    EvaluationItem,
    current_evaluation_set,
    current_members,
    deciding_part,
    group_keys,
    load_evaluation_set,
)
from ml.errors import EvaluationSetError

AddImages = Callable[..., list[str]]


def current(catalog: Catalog) -> tuple[int, list[EvaluationItem]]:
    with catalog.begin() as connection:
        return current_evaluation_set(connection)


def relabel(catalog: Catalog, item_id: str, *names: str) -> None:
    with catalog.begin() as connection:
        membership.confirm(connection, item_id, Annotation(names), "account:7", mirrored=True)


def test_the_same_content_has_the_same_number_and_other_content_another(
    catalog: Catalog, add_images: AddImages
) -> None:
    first, *_ = add_images("amanita", 3, split="evaluation", part="anchor")
    add_images("boletus", 2)
    numbers = [current(catalog)[0], current(catalog)[0]]
    relabel(catalog, first, "boletus")
    numbers += [current(catalog)[0], current(catalog)[0]]
    relabel(catalog, first, "russula")
    numbers.append(current(catalog)[0])
    for name in ("boletus", "amanita", "russula"):  # back to what it was
        relabel(catalog, first, name)
        numbers.append(current(catalog)[0])
    (added,) = add_images("amanita", 1, split="evaluation", part="recent")
    numbers.append(current(catalog)[0])
    different = list(dict.fromkeys(numbers))  # PostgreSQL may leave numbers out
    assert [different.index(number) for number in numbers] == [0, 0, 1, 1, 2, 1, 0, 2, 3]
    assert different == sorted(different)
    with catalog.begin() as connection:
        stored = [load_evaluation_set(connection, version) for version in different]
        assert connection.scalar(sa.select(sa.func.count()).select_from(evaluation_sets)) == 4
        assert connection.scalar(sa.select(sa.func.count()).select_from(evaluation_set_items)) == 3 + 3 + 3 + 4
    assert [len(members) for members in stored] == [3, 3, 3, 4]
    labels = [each.annotation.label for members in stored[:3] for each in members if each.item_id == first]
    assert labels == ["amanita", "boletus", "russula"]
    assert {each.item_id: each.part for each in stored[3]}[added] == "recent"


def test_the_part_of_an_item_is_content(catalog: Catalog, add_images: AddImages) -> None:
    add_images("amanita", 2, split="evaluation", part="anchor")
    version = current(catalog)[0]
    with catalog.begin() as connection:
        connection.execute(sa.update(items).values(evaluation_part="recent"))
    assert current(catalog)[0] > version


def test_the_hash_of_items_with_one_class_stays_what_it_was(catalog: Catalog, add_images: AddImages) -> None:
    ids = sorted(add_images("amanita", 2, split="evaluation", part="anchor"))
    several = current(catalog)
    content = hashlib.sha256(repr([(item_id, "amanita", "anchor") for item_id in ids]).encode()).hexdigest()
    with catalog.begin() as connection:
        assert connection.scalars(sa.select(evaluation_sets.c.content_sha256)).all() == [content]
        connection.execute(sa.update(items).where(items.c.id == ids[0]).values(class_names=["amanita", "boletus"]))
    assert current(catalog)[0] > several[0]


def test_the_set_holds_the_anchor_and_what_is_not_held_back(catalog: Catalog, add_images: AddImages) -> None:
    kept = add_images("amanita", 2, split="evaluation", part="anchor")
    gone, erased = add_images("boletus", 2, split="evaluation", part="anchor")
    add_images("boletus", 2)
    version, members = current(catalog)
    assert sorted(member.item_id for member in members) == sorted([*kept, gone, erased])
    assert [member.item_id for member in members] == sorted(member.item_id for member in members)
    with catalog.begin() as connection:
        membership.exclude(connection, gone, "ada")
        membership.erase(connection, erased, "ada")
        assert sorted(member.item_id for member in current_members(connection)) == sorted(kept)
        stored = [member.item_id for member in load_evaluation_set(connection, version)]
    assert stored == sorted([*kept, gone])


def test_an_empty_set_says_what_to_do(catalog: Catalog, add_images: AddImages) -> None:
    add_images("amanita", 1)
    with pytest.raises(EvaluationSetError, match="--split evaluation"):
        current(catalog)


def test_the_newest_of_the_recent_part_are_taken(
    catalog: Catalog, add_images: AddImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.data.evaluation_sets.RECENT_IMAGES", 2)
    recent = add_images("amanita", 4, split="evaluation", part="recent")
    anchor = add_images("boletus", 3, split="evaluation", part="anchor")
    with catalog.begin() as connection:
        for day, item_id in enumerate(recent):
            age = sa.text(f"now() - interval '{day} days'")
            connection.execute(sa.update(items).where(items.c.id == item_id).values(received_at=age))
        members = current_members(connection)
    assert sorted(member.item_id for member in members) == sorted([*anchor, *recent[:2]])


def test_the_recent_part_decides_once_it_is_large_enough_or_alone() -> None:
    def part_of(recent: int, anchor: int) -> str:
        parts = ["recent"] * recent + ["anchor"] * anchor
        return deciding_part([EvaluationItem("x", "x", None, Annotation(("a",)), part) for part in parts])

    assert part_of(RECENT_DECIDES_FROM, 500) == "recent"
    assert part_of(RECENT_DECIDES_FROM - 1, 500) == "anchor"
    assert (part_of(1, 0), part_of(0, 1), part_of(1, 1)) == ("recent", "anchor", "anchor")


def test_the_groups_of_some_items_are_read(catalog: Catalog, add_images: AddImages) -> None:
    (one,) = add_images("amanita", 1, group="walk 1")
    (other,) = add_images("amanita", 1, group="walk 2")
    add_images("amanita", 1, group="walk 3")
    with catalog.begin() as connection:
        assert group_keys(connection, [one, other, "unknown"]) == {one: "walk 1", other: "walk 2"}
