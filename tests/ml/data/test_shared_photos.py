"""The same photo under several texts: it is on one side, in one fold, and learned or measured with, never both."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.images.copy_index import ImageStatistics, save_statistics
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.items.texts import read_text
from ml.catalog.tables import events, items, snapshot_items
from ml.data import membership
from ml.data.copies.near_copies import NearCopies, copies_of
from ml.data.descriptions import change_description
from ml.data.harvest import harvest, is_harvestable
from ml.data.membership import Arrival, State, confirm, enter, exclude, find_obstacles, read_states, was_learned
from ml.data.selection import SnapshotRules
from ml.data.snapshot_rules import create_snapshot
from ml.errors import ImageChangeError
from ml.ingest.folder import ingest_folder
from tests.ml.data.test_membership import digest, group

AddImages = Callable[..., list[str]]
CHAIR = Annotation(("chair",))
RULES = SnapshotRules(500, 0.20, 0.30)


def item(text: str, photo: int = 0, group_key: str | None = None) -> ItemRecord:
    picture = ImageRecord(digest(photo), "image/png", 32, 32, 100)
    return ItemRecord("upload", picture, read_text(text) if text else None, group_key)


def add(connection: sa.Connection, record: ItemRecord) -> str:
    """An item that is only predicted; its photo is measured."""
    add_predicted(connection, record)
    assert record.image is not None
    save_statistics(connection, {record.image.sha256: ImageStatistics(bytes(1024), 0, 0, 0, 1)})
    return record.id


def let_in(connection: sa.Connection, item_id: str, account: int | None = None) -> bool:
    return harvest(connection, item_id, CHAIR, 1, account, True, lambda _: True)


def state(connection: sa.Connection, item_id: str) -> State:
    return read_states(connection, [item_id])[item_id]


def test_a_photo_that_shows_an_even_surface_or_was_never_measured_is_a_copy_of_itself(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        known = item("a chair")
        enter(connection, [Arrival(known, CHAIR)], "evaluation", "test")
        add_predicted(connection, item("a stool"))
        assert [each.item_id for each in copies_of(connection, item("a stool").id, True).found] == [known.id]
        add(connection, item("a bench"))  # 0 everywhere: an even surface
        assert [each.item_id for each in copies_of(connection, item("a bench").id, True).found] == [known.id]
        assert copies_of(connection, known.id, mirrored=True).found == []


@pytest.mark.parametrize("split", ["pool", "evaluation"])
def test_a_photo_comes_to_the_side_and_group_that_it_has_with_another_text(
    catalog: Catalog, split: membership.Split
) -> None:
    first = item("a chair", group_key=group(held_out=split == "pool"))
    other = item("a stool", group_key=group(held_out=split == "pool", number=1))
    with catalog.begin() as connection:
        enter(connection, [Arrival(first, CHAIR)], split, "test")
        confirm(connection, add(connection, other), CHAIR, "account:1", mirrored=True)
        found = state(connection, other.id)
        assert (found.split, found.group_key, found.copy_of) == (split, first.group, first.id)
        assert not let_in(connection, add(connection, item("a bench")))


def test_an_even_photo_that_measures_with_a_text_does_not_come_into_the_pool_alone(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = tmp_path / "chair" / "even.png"
    path.parent.mkdir()
    Image.new("RGB", (64, 64), "white").save(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    known = ItemRecord("shop", ImageRecord(sha256, "image/png", 64, 64, 100), read_text("a white chair"))
    with catalog.begin() as connection:
        enter(connection, [Arrival(known, CHAIR)], "evaluation", "test")
    assert ingest_folder(catalog, tmp_path, "pool").rejected == {"copy_in_other_split": 1}
    with catalog.begin() as connection:
        assert read_states(connection, [sha256]) == {}


def test_an_item_is_harvested_under_its_new_description_and_its_photo_once(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        former = add(connection, item("a chair"))
        version = change_description(connection, former, read_text("a stool"), "account:1")
        assert let_in(connection, version)
        assert not let_in(connection, add(connection, item("a bench")))


def test_a_guess_may_be_held_out_under_its_new_description(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        former = add(connection, item("a chair", group_key=group(held_out=True)))
        assert let_in(connection, former)
        version = change_description(connection, former, read_text("a stool"), "account:1")
        assert (state(connection, former).split, state(connection, former).held_back) == (None, "superseded")
        assert confirm(connection, version, CHAIR, "account:1", mirrored=True)
        assert state(connection, version).split == "evaluation"


def test_a_guess_does_not_yield_where_a_model_learned_its_photo_under_a_former_description(
    catalog: Catalog, add_images: AddImages
) -> None:
    for name in ("chair", "wood"):
        add_images(name, 30)
    with catalog.begin() as connection:
        former = add(connection, item("a chair", group_key="walk"))
        assert let_in(connection, former)
        with connection.begin_nested() as undone:
            version = change_description(connection, former, read_text("a stool"), "account:1")
            assert find_obstacles(connection, "evaluation", "f" * 64, "walk", NearCopies()).yielding == [version]
            undone.rollback()
        create_snapshot(connection, RULES, None)
        assert was_learned(connection, item_ids=[former])
        version = change_description(connection, former, read_text("a stool"), "account:1")
        assert find_obstacles(connection, "evaluation", "f" * 64, "walk", NearCopies()).blocking == [version]
        assert was_learned(connection, item_ids=[item("").id])  # the photo alone, which nobody knows


def test_a_new_description_does_not_count_against_an_account_s_day(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.data.harvest.HARVESTED_PER_DAY", 2)
    account = "INSERT INTO users.accounts (login, password_hash, role) VALUES ('ada', 'x', 'user') RETURNING id"
    with catalog.begin() as connection:
        account_id = connection.execute(sa.text(account)).scalar_one()
        first, second, third = (add(connection, item("a chair", number)) for number in range(3))
        assert let_in(connection, first, account_id)
        change_description(connection, first, read_text("a stool"), "account:1")
        assert is_harvestable(connection, second, account_id)
        assert let_in(connection, second, account_id)
        assert not is_harvestable(connection, third, account_id)


def test_no_photo_is_learned_and_measured_with_whatever_happens(catalog: Catalog, add_images: AddImages) -> None:
    """Nights of harvests, confirmations, descriptions, exclusions and snapshots in any order, checked after each."""
    choice = random.Random(0)
    for name in ("chair", "wood"):
        add_images(name, 30)
    texts = ["", "a chair", "a stool", "a bench"]
    with catalog.begin() as connection:
        known = [
            add(connection, item(text, photo, f"walk {choice.randrange(40)}")) for photo in range(30) for text in texts
        ]
    for _ in range(250):
        step, item_id = choice.random(), choice.choice(known)
        said = Annotation((choice.choice(["chair", "wood"]),))
        with catalog.begin() as connection:
            if step < 0.05:
                create_snapshot(connection, RULES, None)
            elif step < 0.35:
                let_in(connection, item_id)
            elif step < 0.50:
                describe(connection, item_id, choice.choice(texts))
            elif step < 0.55:
                exclude(connection, item_id, "account:1")
            else:
                confirm(connection, item_id, said, "account:1", mirrored=True, is_readmitted=step > 0.9)
            check_photos(connection)
    with catalog.begin() as connection:
        kinds = set(connection.scalars(sa.select(events.c.kind)))
        splits = set(connection.scalars(sa.select(items.c.split).where(items.c.held_back.is_(None))))
    assert {"image.harvested", "image.confirmed", "image.took_over", "image.excluded"} <= kinds
    assert {"pool", "evaluation"} <= splits


def describe(connection: sa.Connection, item_id: str, text: str) -> None:
    with connection.begin_nested() as change:
        try:
            change_description(connection, item_id, read_text(text) if text else None, "account:1")
        except ImageChangeError:
            change.rollback()


def check_photos(connection: sa.Connection) -> None:
    learned = set(connection.scalars(sa.select(items.c.image_sha256).join(snapshot_items)))
    sides = defaultdict(set)
    groups = defaultdict(set)
    for row in connection.execute(sa.select(items).where(items.c.split.is_not(None), items.c.held_back.is_(None))):
        sides[row.split].add(row.image_sha256)
        groups[row.image_sha256].add(row.group_key)
    assert not sides["evaluation"] & (sides["pool"] | learned)
    assert [found for found in groups.values() if len(found) > 1] == []
