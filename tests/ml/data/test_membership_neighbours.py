"""A transition changes its own item and nothing else, however the others sort; and what an item takes over."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.images.copy_index import Proposal
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.items.texts import read_text
from ml.catalog.tables import annotations, events, harvests, items, snapshot_items, snapshots
from ml.data import membership
from ml.data.copies.near_copies import NearCopies
from ml.data.evaluation_sets import current_evaluation_set
from ml.data.membership import Arrival, choose_split, is_held_out, read_placements

FIRST, LAST = "0" * 64, "f" * 64  # ids that sort before and after every other
ITEM = hashlib.sha256(b"the item").hexdigest()
GROUP = next(name for name in map("walk {}".format, range(100)) if not is_held_out(name))
HELD_OUT_GROUP = next(name for name in map("walk {}".format, range(100)) if is_held_out(name))
AMANITA, BOLETUS, RUSSULA = (Annotation((name,)) for name in ("amanita", "boletus", "russula"))


def record(item_id: str, group: str = GROUP) -> ItemRecord:
    return ItemRecord("test", ImageRecord(item_id, "image/png", 32, 32, 100), group=group)


def state_of(catalog: Catalog, item_ids: list[str]) -> list[Any]:
    """All that the catalog says of some items."""
    with catalog.begin() as connection:
        return [
            connection.execute(sa.select(table).where(column.in_(item_ids)).order_by(column)).all()
            for table, column in (
                (items, items.c.id),
                (annotations, annotations.c.item_id),
                (harvests, harvests.c.item_id),
            )
        ]


def history_of(catalog: Catalog, item_id: str) -> list[tuple[list[str], str, str]]:
    columns = annotations.c
    query = sa.select(columns.class_names, columns.origin, columns.said_by).where(columns.item_id == item_id)
    with catalog.begin() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(columns.id))]


def note_harvest(connection: sa.Connection, item_id: str, model_version: int) -> None:
    connection.execute(sa.insert(harvests).values(item_id=item_id, model_version=model_version))


@pytest.fixture
def neighbours(catalog: Catalog) -> list[str]:
    """Items in every state whose ids, groups and names sort before and after those of any other item."""
    names = []
    with catalog.begin() as connection:
        for end, label, group in ((FIRST, Annotation(("aaa",)), "a walk"), (LAST, Annotation(("zzz",)), "z walk")):
            ids = [end[:-1] + digit for digit in "1234"]
            entered, harvested, evaluated, predicted = ids
            membership.enter(connection, [Arrival(record(entered, f"{group} 1"), label)], "pool", "folder:a")
            add_predicted(connection, record(harvested, f"{group} 2"))
            membership.harvest(connection, harvested, label, 1)
            membership.enter(connection, [Arrival(record(evaluated, f"{group} 3"), label)], "evaluation", "folder:a")
            add_predicted(connection, record(predicted, f"{group} 4"))
            names += ids
    return names


def confirm(connection: sa.Connection, annotation: Annotation, said_by: str = "account:7") -> bool:
    return membership.confirm(connection, ITEM, annotation, said_by, mirrored=True)


TRANSITIONS: dict[str, Callable[[sa.Connection], object]] = {
    "harvest": lambda connection: membership.harvest(connection, ITEM, BOLETUS, 3),
    "confirm": lambda connection: confirm(connection, BOLETUS),
    "enter the pool": lambda connection: membership.enter(
        connection, [Arrival(record(ITEM), BOLETUS)], "pool", "folder:b"
    ),
    "enter the evaluation set": lambda connection: membership.enter(
        connection, [Arrival(record(ITEM), BOLETUS)], "evaluation", "folder:b"
    ),
    "wait": lambda connection: membership.wait(connection, [Arrival(record(ITEM), BOLETUS)], "file:///drop"),
    "suspend": lambda connection: membership.suspend(connection, [ITEM], "account:1"),
    "exclude": lambda connection: membership.exclude(connection, ITEM, "ada"),
    "withdraw": lambda connection: membership.withdraw(connection, ITEM, FIRST[:-1] + "3", "check"),
    "hold out": lambda connection: (confirm(connection, BOLETUS), membership.hold_out(connection, [GROUP], "retrain")),
    "supersede": lambda connection: membership.supersede(
        connection, ITEM, record(hashlib.sha256(b"new").hexdigest()), "x"
    ),
    "erase": lambda connection: membership.erase(connection, ITEM, "ada"),
}


@pytest.mark.parametrize("transition", TRANSITIONS.values(), ids=TRANSITIONS)
def test_a_transition_changes_no_other_item(
    catalog: Catalog, neighbours: list[str], transition: Callable[[sa.Connection], object]
) -> None:
    with catalog.begin() as connection:
        add_predicted(connection, record(ITEM))
    before, own = state_of(catalog, neighbours), state_of(catalog, [ITEM])
    with catalog.begin() as connection:
        transition(connection)
    assert state_of(catalog, neighbours) == before
    assert state_of(catalog, [ITEM]) != own


@pytest.mark.parametrize(("earlier", "later"), [(BOLETUS, AMANITA), (AMANITA, RUSSULA)], ids=["down", "up"])
def test_what_is_restored_is_said_again_by_who_said_it_last(
    catalog: Catalog, neighbours: list[str], earlier: Annotation, later: Annotation
) -> None:
    with catalog.begin() as connection:
        add_predicted(connection, record(ITEM))
        confirm(connection, earlier, "account:1")
        confirm(connection, later, "account:2")
        confirm(connection, earlier, "account:3")
        before = read_placements(connection, [ITEM])[ITEM]
        confirm(connection, later, "account:4")
        after = read_placements(connection, [ITEM])[ITEM]
    others = state_of(catalog, neighbours)
    with catalog.begin() as connection:
        assert membership.restore(connection, ITEM, before, after, "account:5")
        assert not membership.restore(connection, ITEM, before, after, "account:5")
        assert read_placements(connection, [ITEM])[ITEM] == before
    assert history_of(catalog, ITEM)[-1] == (list(earlier.class_names), "confirmed", "account:3")
    assert len(history_of(catalog, ITEM)) == 5
    assert state_of(catalog, neighbours) == others


def test_a_new_version_takes_over_the_state_the_last_annotation_and_the_harvest(
    catalog: Catalog, neighbours: list[str]
) -> None:
    new = hashlib.sha256(b"new version").hexdigest()
    with catalog.begin() as connection:
        add_predicted(connection, record(ITEM))
        membership.harvest(connection, ITEM, BOLETUS, 3)
        note_harvest(connection, ITEM, 3)
        for neighbour in neighbours:
            note_harvest(connection, neighbour, 8)
        confirm(connection, AMANITA)
        membership.supersede(connection, ITEM, record(new), "source")
        former, current = (membership.read_states(connection, [each])[each] for each in (ITEM, new))
        taken = connection.execute(sa.select(harvests.c.model_version).where(harvests.c.item_id == new)).scalars().all()
    assert (former.held_back, former.split) == ("superseded", None)
    assert (current.split, current.annotation, current.label_origin) == ("pool", AMANITA, "confirmed")
    assert history_of(catalog, new) == [(["amanita"], "confirmed", "account:7")]
    assert taken == [3]


def test_a_companion_in_the_pool_keeps_a_group_that_would_be_held_out(catalog: Catalog, neighbours: list[str]) -> None:
    companion = hashlib.sha256(b"companion").hexdigest()
    with catalog.begin() as connection:
        assert choose_split(connection, ITEM, HELD_OUT_GROUP) == "evaluation"
        membership.enter(connection, [Arrival(record(companion, HELD_OUT_GROUP), BOLETUS)], "pool", "folder:b")
        assert choose_split(connection, ITEM, HELD_OUT_GROUP) == "pool"
        assert choose_split(connection, companion, HELD_OUT_GROUP) == "pool"


def test_a_guess_of_the_item_itself_is_no_companion(catalog: Catalog, neighbours: list[str]) -> None:
    with catalog.begin() as connection:
        add_predicted(connection, record(ITEM, HELD_OUT_GROUP))
        membership.harvest(connection, ITEM, BOLETUS, 3)
        assert choose_split(connection, ITEM, HELD_OUT_GROUP) == "evaluation"


def test_a_learned_guess_whose_copy_is_in_the_evaluation_set_is_held_back_when_a_person_names_it(
    catalog: Catalog, neighbours: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = neighbours[2]
    with catalog.begin() as connection:
        add_predicted(connection, record(ITEM))
        membership.harvest(connection, ITEM, BOLETUS, 3)
        learn(connection, ITEM)
    copy = Proposal(original, b"", "evaluation", "curated", None, "walk", None)
    monkeypatch.setattr(membership, "copies_of", lambda *_args: NearCopies([copy]))
    with catalog.begin() as connection:
        confirm(connection, AMANITA)
        state = read_placements(connection, [ITEM])[ITEM]
        members = [member.item_id for member in current_evaluation_set(connection)[1]]
        told = connection.execute(sa.select(events.c.kind).order_by(events.c.id.desc()).limit(1)).scalar_one()
    assert (state["held_back"], state["copy_of"], state["entered_pool_at"]) == ("copy", original, None)
    assert (told, members) == ("image.confirmed", [neighbours[2], neighbours[6]])


def learn(connection: sa.Connection, item_id: str) -> None:
    """Put an item into a snapshot."""
    values = {"cutoff": sa.func.now(), "requested_size": 1, "strategy": "newest", "pool_state": "1", "classes": ["a"]}
    snapshot_id = connection.execute(sa.insert(snapshots).values(values).returning(snapshots.c.id)).scalar_one()
    member = {"class_names": ["boletus"], "label_origin": "harvested", "fold": "train", "item_id": item_id}
    connection.execute(sa.insert(snapshot_items).values(snapshot_id=snapshot_id, **member))


@pytest.mark.parametrize("is_learned", [False, True])
def test_a_guess_gives_way_to_a_copy_in_the_evaluation_set_unless_a_model_has_learned_from_it(
    catalog: Catalog, neighbours: list[str], monkeypatch: pytest.MonkeyPatch, is_learned: bool
) -> None:
    guess, evaluated = neighbours[1], neighbours[2]
    found = [
        Proposal(evaluated, b"", "evaluation", "curated", None, "a walk 3", None),
        Proposal(guess, b"", "pool", "harvested", None, "a walk 2", None),
    ]
    monkeypatch.setattr(membership, "copies_of", lambda *_args: NearCopies(found))
    with catalog.begin() as connection:
        add_predicted(connection, record(ITEM))
        if is_learned:
            learn(connection, guess)
        confirm(connection, BOLETUS)
        states = membership.read_states(connection, [ITEM, guess])
    if is_learned:
        assert (states[ITEM].held_back, states[ITEM].copy_of) == ("copy", evaluated)
        assert (states[guess].split, states[guess].held_back) == ("pool", None)
    else:
        assert (states[ITEM].split, states[ITEM].evaluation_part, states[ITEM].held_back) == (
            "evaluation",
            "recent",
            None,
        )
        assert (states[guess].held_back, states[guess].copy_of) == ("copy", ITEM)


def test_a_description_without_a_photo_can_be_learned(catalog: Catalog, neighbours: list[str]) -> None:
    described = ItemRecord("test", None, text=read_text("brown cap, on oak"), group=GROUP)
    with catalog.begin() as connection:
        add_predicted(connection, described)
        assert not membership.was_learned(connection, item_ids=[described.id])
        learn(connection, described.id)
        assert membership.was_learned(connection, item_ids=[described.id])
        assert membership.was_learned(connection, [GROUP])
        assert not membership.was_learned(connection, ["a walk 1"], neighbours)
