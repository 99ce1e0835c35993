"""Which side a human-labelled arrival belongs to, and that no image ever moves between them."""

import hashlib
import random
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.tables import annotations, events, items
from ml.data import membership
from ml.data.copies.near_copies import NearCopies
from ml.data.evaluation_sets import current_evaluation_set
from ml.data.folds import hash_position
from ml.data.membership import RECENT_SHARE, choose_split, is_held_out
from ml.data.snapshot_rules import SnapshotRules, create_snapshot

AddImages = Callable[..., list[str]]
AMANITA, BOLETUS = Annotation(("amanita",)), Annotation(("boletus",))
EXPERT = "account:7"


def group(held_out: bool, number: int = 0) -> str:
    """The name of a group that a hash sends to one side or the other."""
    names = (name for index in count() if is_held_out(name := f"walk {index}") is held_out)
    return next(name for index, name in enumerate(names) if index == number)


def digest(number: int) -> str:
    return hashlib.sha256(f"photo {number}".encode()).hexdigest()


@pytest.fixture
def add_photo(catalog: Catalog) -> Callable[[str], str]:
    """Writes images that are only predicted so far, each of a group. Gives their hashes."""
    numbers = count()

    def add(group_key: str) -> str:
        sha256 = digest(next(numbers))
        with catalog.begin() as connection:
            add_predicted(connection, record(sha256, group_key))
        return sha256

    return add


def confirm(catalog: Catalog, sha256: str, label: str = "boletus") -> bool:
    with catalog.begin() as connection:
        return membership.confirm(connection, sha256, Annotation((label,)), EXPERT, mirrored=True)


def record(sha256: str, group: str) -> ItemRecord:
    return ItemRecord("test", ImageRecord(sha256, "image/png", 32, 32, 100), group=group)


def read(catalog: Catalog, sha256: str) -> sa.Row[tuple[object, ...]]:
    with catalog.begin() as connection:
        return connection.execute(
            sa.select(items, items.c.class_names[1].label("label")).where(items.c.id == sha256)
        ).one()


def test_a_fifth_of_the_groups_is_held_out() -> None:
    held_out = [is_held_out(str(number)) for number in range(10_000)]
    assert sum(held_out) / len(held_out) == pytest.approx(RECENT_SHARE, abs=0.01)


def test_the_share_and_the_validation_fold_are_drawn_apart() -> None:
    stayed = [name for name in map(str, range(10_000)) if not is_held_out(name)]
    validation = [name for name in stayed if hash_position(name) < 0.20]
    assert len(validation) / len(stayed) == pytest.approx(0.20, abs=0.01)


def test_a_confirmed_image_goes_to_its_side(catalog: Catalog, add_photo: Callable[[str], str]) -> None:
    kept, held = add_photo(group(held_out=False)), add_photo(group(held_out=True))
    assert confirm(catalog, kept)
    assert confirm(catalog, held)
    image = read(catalog, kept)
    assert (image.split, image.evaluation_part, image.label, image.label_origin) == (
        "pool",
        None,
        "boletus",
        "confirmed",
    )
    assert image.entered_pool_at is not None
    image = read(catalog, held)
    assert (image.split, image.evaluation_part, image.label_origin) == ("evaluation", "recent", "confirmed")
    assert image.entered_pool_at is None
    with catalog.begin() as connection:
        assert [member.item_id for member in current_evaluation_set(connection)[1]] == [held]


def test_every_change_is_in_the_label_history_and_in_the_audit_log(
    catalog: Catalog, add_photo: Callable[[str], str]
) -> None:
    sha256 = add_photo(group(held_out=False))
    confirm(catalog, sha256)
    assert not confirm(catalog, sha256)
    confirm(catalog, sha256, "amanita")
    with catalog.begin() as connection:
        history = connection.execute(
            sa.select(annotations.c.class_names[1], annotations.c.origin, annotations.c.said_by)
        ).all()
        details = connection.execute(sa.select(events.c.detail).order_by(events.c.id)).scalars().all()
    assert history == [("boletus", "confirmed", EXPERT), ("amanita", "confirmed", EXPERT)]
    assert [(detail["before"]["label"], detail["after"]["label"]) for detail in details] == [
        (None, "boletus"),
        ("boletus", "amanita"),
    ]


def test_a_group_stays_together(catalog: Catalog, add_photo: Callable[[str], str], add_images: AddImages) -> None:
    in_pool, in_evaluation = group(held_out=True), group(held_out=False)
    add_images("boletus", 1, group=in_pool)
    add_images("boletus", 1, split="evaluation", part="anchor", group=in_evaluation)
    for group_key, split in ((in_pool, "pool"), (in_evaluation, "evaluation")):
        sha256 = add_photo(group_key)
        confirm(catalog, sha256)
        assert read(catalog, sha256).split == split


def test_a_harvested_image_may_be_held_out_until_a_snapshot_has_it(catalog: Catalog, add_images: AddImages) -> None:
    groups = [group(held_out=True, number=number) for number in range(2)]
    (early,) = add_images("boletus", 1, origin="harvested", group=groups[0])
    confirm(catalog, early)
    assert read(catalog, early).split == "evaluation"
    (late,) = add_images("boletus", 1, origin="harvested", group=groups[1])
    for label in ("boletus", "amanita"):
        add_images(label, 30)
    with catalog.begin() as connection:
        create_snapshot(connection, SnapshotRules(100, 0.20, 0.30), None)
    with catalog.begin() as connection:
        assert choose_split(connection, late, groups[1]) == "pool"
    confirm(catalog, late)
    assert read(catalog, late).split == "pool"


def test_a_corrected_label_keeps_the_side_and_is_new_to_the_next_snapshot(
    catalog: Catalog, add_images: AddImages
) -> None:
    (in_pool,) = add_images("boletus", 1, group=group(held_out=True))
    (anchor,) = add_images("boletus", 1, split="evaluation", part="anchor", group=group(held_out=False))
    before = read(catalog, in_pool)
    confirm(catalog, in_pool, "amanita")
    confirm(catalog, anchor, "amanita")
    after = read(catalog, in_pool)
    assert (after.split, after.label) == ("pool", "amanita")
    assert after.entered_pool_at > before.entered_pool_at
    image = read(catalog, anchor)
    assert (image.split, image.evaluation_part, image.label) == ("evaluation", "anchor", "amanita")


def test_an_excluded_image_stays_out(catalog: Catalog, add_images: AddImages) -> None:
    (sha256,) = add_images("boletus", 1)
    with catalog.begin() as connection:
        connection.execute(sa.update(items).values(held_back="excluded", entered_pool_at=None))
    assert not confirm(catalog, sha256, "amanita")
    assert (read(catalog, sha256).held_back, read(catalog, sha256).label) == ("excluded", "boletus")


def test_no_image_moves_between_the_sides_whatever_happens(
    catalog: Catalog, add_photo: Callable[[str], str], add_images: AddImages
) -> None:
    """Nights of harvesting, confirming, correcting and snapshots in any order, checked after each step."""
    choice = random.Random(0)
    for label in ("boletus", "amanita"):
        add_images(label, 30)
    groups = [f"walk {number}" for number in range(40)]
    photos = [add_photo(choice.choice(groups)) for _ in range(120)]
    sides: dict[str, str] = {}
    learnt: set[str] = set()
    for _ in range(300):
        step, photo = choice.random(), choice.choice(photos)
        with catalog.begin() as connection:
            if step < 0.05:
                create_snapshot(connection, SnapshotRules(150, 0.20, 0.30), None)
            elif step < 0.35:
                _harvest(connection, photo, choice.choice([BOLETUS, AMANITA]))
            else:
                membership.confirm(connection, photo, choice.choice([BOLETUS, AMANITA]), EXPERT, mirrored=True)
        _check_sides(catalog, sides, learnt)
    assert {"pool", "evaluation"} <= set(sides.values())


def _harvest(connection: sa.Connection, sha256: str, annotation: Annotation) -> None:
    """What `ml.data.harvest` asks before."""
    state = membership.read_states(connection, [sha256])[sha256]
    obstacles = membership.find_obstacles(connection, "pool", sha256, state.group_key, NearCopies())
    if state.split is None and state.annotation is None and not obstacles.blocking:
        membership.harvest(connection, sha256, annotation, 1)


def _check_sides(catalog: Catalog, sides: dict[str, str], learnt: set[str]) -> None:
    with catalog.begin() as connection:
        rows = connection.execute(sa.select(items).where(items.c.split.is_not(None))).all()
        learnt.update(connection.execute(sa.text("SELECT item_id FROM training.snapshot_items")).scalars())
    human = {row.id: row.split for row in rows if row.label_origin != "harvested"}
    assert sides.items() <= human.items()
    sides.update(human)
    held_out = {row.group_key for row in rows if row.split == "evaluation"}
    assert not held_out & {row.group_key for row in rows if row.split == "pool"}
    assert not learnt & {row.id for row in rows if row.split == "evaluation"}


def test_nothing_else_writes_membership() -> None:
    root = Path(__file__).parents[3]
    writes = re.compile(r"sa\.update\(items\)|insert\(items\)|sa\.insert\(annotations\)|UPDATE training\.items")
    writers = {
        path.relative_to(root).as_posix()
        for room in ("ml", "webapi", "dags", "plugins", "stack", "soak")
        for path in (root / room).rglob("*.py")
        if "migrations" not in path.parts and writes.search(path.read_text(encoding="utf-8"))
    }
    assert writers == {"ml/data/membership.py", "ml/catalog/items/item_records.py"}  # the latter: as they arrive and go


def events_of(catalog: Catalog, sha256: str) -> list[tuple[str, object, object]]:
    query = sa.select(events.c.kind, events.c.detail).order_by(events.c.id)
    with catalog.begin() as connection:
        return [
            (kind, detail["before"] and detail["before"]["held_back"], detail["after"]["held_back"])
            for kind, detail in connection.execute(query)
            if detail["image_sha256"] == sha256
        ]


def test_each_transition_is_in_the_audit_log(catalog: Catalog, add_photo: Callable[[str], str]) -> None:
    sha256, original = add_photo(group(held_out=False)), add_photo(group(held_out=True))
    with catalog.begin() as connection:
        membership.harvest(connection, sha256, BOLETUS, 3)
        assert membership.suspend(connection, [sha256], "account:1", proposed="amanita") == 1
        assert membership.confirm(connection, sha256, BOLETUS, EXPERT, mirrored=True)
        assert membership.exclude(connection, sha256, "ada")
        assert not membership.exclude(connection, sha256, "ada")
        assert not membership.confirm(connection, sha256, AMANITA, EXPERT, mirrored=True)
        assert membership.confirm(connection, sha256, AMANITA, EXPERT, mirrored=True, is_readmitted=True)
        assert membership.withdraw(connection, sha256, original, "check")
    assert events_of(catalog, sha256) == [
        ("image.harvested", None, None),
        ("image.suspended", None, "suspended"),
        ("image.confirmed", "suspended", None),
        ("image.excluded", None, "excluded"),
        ("image.confirmed", "excluded", None),
        ("image.withdrawn", None, "copy"),
    ]
    image = read(catalog, sha256)
    assert (image.split, image.label, image.entered_pool_at, image.copy_of) == ("pool", "amanita", None, original)


def test_a_person_who_brings_an_image_ends_what_it_was(catalog: Catalog, add_photo: Callable[[str], str]) -> None:
    def arrival(sha256: str) -> membership.Arrival:
        return membership.Arrival(record(sha256, read(catalog, sha256).group_key), AMANITA)

    harvested, waiting, predicted = (add_photo(f"walk {number}") for number in range(3))
    with catalog.begin() as connection:
        membership.harvest(connection, harvested, BOLETUS, 1)
        membership.wait(connection, [arrival(waiting)], "file:///drop")
    assert (read(catalog, waiting).label_origin, read(catalog, waiting).split) == ("stated", None)
    with catalog.begin() as connection:
        membership.enter(connection, [arrival(harvested), arrival(predicted)], "pool", "folder:new")
        membership.enter(connection, [arrival(waiting)], "evaluation", "folder:held out")
    for sha256, split, part in (
        (harvested, "pool", None),
        (predicted, "pool", None),
        (waiting, "evaluation", "anchor"),
    ):
        image = read(catalog, sha256)
        assert (image.split, image.evaluation_part, image.label, image.label_origin) == (
            split,
            part,
            "amanita",
            "curated",
        )
        assert image.held_back is None
        assert (image.entered_pool_at is not None) == (split == "pool")


def test_groups_are_held_out_together(catalog: Catalog, add_images: AddImages) -> None:
    moved = add_images("boletus", 2, group="walk 7")
    (stays,) = add_images("boletus", 1, group="walk 8")
    with catalog.begin() as connection:
        assert membership.hold_out(connection, ["walk 7"], "retrain") == 2
    assert {read(catalog, sha256).split for sha256 in moved} == {"evaluation"}
    assert {read(catalog, sha256).evaluation_part for sha256 in moved} == {"recent"}
    assert read(catalog, stays).split == "pool"
