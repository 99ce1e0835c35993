"""Membership: who is in which split, decided by one writer at a time."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Literal

import pytest
import sqlalchemy as sa

from ml.catalog.annotations import Annotation, label_of
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, Split, add_predicted, item_id
from ml.catalog.items.texts import read_text
from ml.catalog.locks import lock_membership, lock_pool_for_snapshot
from ml.catalog.tables import item_classes, items, texts
from ml.data.membership import Arrival, enter, read_states
from ml.data.pool import count_by_class, newest_labelled


def record(number: int, group: str | None = None) -> ItemRecord:
    return ItemRecord("test", ImageRecord(f"{number:064x}", "image/png", 32, 32, 100), group=group)


def add_members(connection: sa.Connection, numbers: list[int], split: Split, group: str | None = None) -> None:
    enter(connection, [Arrival(record(number, group), Annotation(("a",))) for number in numbers], split, "test")


IMAGE, TEXT = "a" * 64, read_text("a chair")


def test_an_item_is_named_by_its_only_part_or_by_both() -> None:
    assert item_id(IMAGE, None) == IMAGE
    assert item_id(None, TEXT.sha256) == TEXT.sha256
    both = item_id(IMAGE, TEXT.sha256)
    assert both == hashlib.sha256(f"{IMAGE}\0{TEXT.sha256}".encode()).hexdigest()
    # Whatever is written there: no text alone is that item.
    assert read_text(IMAGE + TEXT.sha256).sha256 != both
    with pytest.raises(ValueError, match="Received: neither"):
        item_id(None, None)


def test_the_database_names_items_the_same_way_and_takes_no_other_name(catalog: Catalog) -> None:
    picture = ImageRecord(IMAGE, "image/png", 32, 32, 100)
    both = ItemRecord("test", picture, TEXT)
    with catalog.begin() as connection:
        for each in (ItemRecord("test", picture), ItemRecord("test", text=TEXT), both, both):
            add_predicted(connection, each)
        stored = connection.execute(sa.select(items.c.id, items.c.group_key).order_by(items.c.received_at)).all()
    assert stored == [(IMAGE, IMAGE), (TEXT.sha256, TEXT.sha256), (both.id, both.id)]
    for wrong in (both.row() | {"id": "b" * 64}, both.row() | {"image_sha256": None, "text_sha256": None}):
        with pytest.raises(sa.exc.IntegrityError, match="items_id_is_hash_of_parts"), catalog.begin() as connection:
            connection.execute(sa.insert(items).values(wrong))


def test_a_text_is_stored_under_its_own_hash_alone(catalog: Catalog) -> None:
    with pytest.raises(sa.exc.IntegrityError, match="texts"), catalog.begin() as connection:
        connection.execute(sa.insert(texts).values(sha256=IMAGE, content="a chair"))


def test_the_classes_of_an_item_follow_it(catalog: Catalog) -> None:
    def classes() -> set[tuple[str, bool]]:
        columns = (item_classes.c.class_name, item_classes.c.entered_pool_at.is_not(None))
        return set(connection.execute(sa.select(*columns)).tuples())

    with catalog.begin() as connection:
        enter(connection, [Arrival(record(1), Annotation(("cat", "dog", "cat")))], "pool", "test")
        assert classes() == {("cat", True), ("dog", True)}
        connection.execute(sa.update(items).values(entered_pool_at=None))
        assert classes() == {("cat", False), ("dog", False)}
        connection.execute(sa.update(items).values(class_names=["fox"]))
        assert classes() == {("fox", False)}
        connection.execute(sa.text("DELETE FROM training.annotations"))
        connection.execute(sa.delete(items))
        assert classes() == set()


def test_states_are_found_by_hash(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        add_members(connection, [1], "pool", group="walk 7")
        add_members(connection, [2], "evaluation")
        add_predicted(connection, record(3))
        hashes = [record(number).id for number in range(1, 5)]
        found = read_states(connection, hashes)
        assert {
            sha256: (state.split, label_of(state.annotation), state.group_key) for sha256, state in found.items()
        } == {
            hashes[0]: ("pool", "a", "walk 7"),
            hashes[1]: ("evaluation", "a", hashes[1]),
            hashes[2]: (None, None, hashes[2]),
        }
        assert read_states(connection, []) == {}


def test_members_enter_the_pool_in_their_order(catalog: Catalog) -> None:
    numbers = [5, 3, 9, 1, 7]
    with catalog.begin() as connection:
        add_members(connection, numbers, "pool")
        newest = newest_labelled(connection, 5)
    assert [image.item_id for image in newest] == [record(number).id for number in reversed(numbers)]


def test_adding_nobody_is_fine(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        add_members(connection, [], "pool")
        assert count_by_class(connection) == {}


def test_a_prediction_changes_nothing_about_a_member(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        add_members(connection, [1], "pool", group="walk 7")
        before = connection.execute(sa.select(items)).one()
        add_predicted(connection, record(1))
        assert connection.execute(sa.select(items)).one() == before


def wait_for_membership(catalog: Catalog, split: Literal["pool", "evaluation"]) -> None:
    with catalog.begin() as connection:
        lock_membership(connection, split)


@pytest.mark.parametrize("split", ["pool", "evaluation"])
def test_only_one_transaction_decides_membership_at_a_time(
    split: Literal["pool", "evaluation"], catalog: Catalog
) -> None:
    with ThreadPoolExecutor(1) as threads:
        with catalog.begin() as connection:
            lock_membership(connection, "pool")
            waiting = threads.submit(wait_for_membership, catalog, split)
            with pytest.raises(FutureTimeoutError):
                waiting.result(timeout=0.3)
        waiting.result(timeout=60)


def test_a_snapshot_being_pinned_keeps_new_pool_members_out(catalog: Catalog) -> None:
    with ThreadPoolExecutor(2) as threads:
        with catalog.begin() as connection:
            lock_pool_for_snapshot(connection)
            waiting = threads.submit(wait_for_membership, catalog, "pool")
            with pytest.raises(FutureTimeoutError):
                waiting.result(timeout=0.3)
        waiting.result(timeout=60)
