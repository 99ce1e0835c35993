"""Membership: who is in which split, decided by one writer at a time."""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Literal

import pytest
import sqlalchemy as sa

from ml.catalog.annotations import Annotation, label_of
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, Split, add_predicted
from ml.catalog.locks import lock_membership, lock_pool_for_snapshot
from ml.catalog.tables import items
from ml.data.membership import Arrival, enter, read_states
from ml.data.pool import count_by_class, newest_labelled


def record(number: int, group: str | None = None) -> ItemRecord:
    return ItemRecord("test", ImageRecord(f"{number:064x}", "image/png", 32, 32, 100), group=group)


def add_members(connection: sa.Connection, numbers: list[int], split: Split, group: str | None = None) -> None:
    enter(connection, [Arrival(record(number, group), Annotation(("a",))) for number in numbers], split, "test")


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
        newest = list(newest_labelled(connection, 5))
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
