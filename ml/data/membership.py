"""Which items models learn from and which they are measured with: one state machine.

Nothing else changes an item's split, part, annotation, origin, time of entry, hold or group. Each transition takes the
membership lock, keeps what was said in the history of annotations, and writes itself to the audit log, with the state
before and after.

    wait      unknown, predicted, harvested   ->  waiting for a person's word, in no split
    enter     all without a person's label    ->  pool or anchor, as a person chose
    harvest   predicted                       ->  pool, under a model's label
    confirm   all but excluded                ->  pool or evaluation set; held as `copy` where it would cross
    suspend   pool, evaluation set            ->  out, until a person's word
    exclude   all                             ->  out for good, unless confirmed with `is_readmitted`
    withdraw  pool                            ->  out, held as `copy` of an item of the evaluation set
    hold_out  pool                            ->  recent part of the evaluation set
    supersede all                             ->  out for good, in no split; another version has all that it had
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.annotations import Annotation, label_of, read_annotation
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.items.item_records import ItemRecord, Split, add_parts, add_predicted, find_item_images
from ml.catalog.locks import lock_membership
from ml.catalog.tables import annotations, events, harvests, items, snapshot_items
from ml.data.copies.near_copies import NearCopies, copies_of, let_be_found

# A constant, not a setting: another share would send images of known groups to the other side.
RECENT_SHARE = 0.20

HumanOrigin = Literal["confirmed", "curated"]

_LABELLING = ("entered", "harvested", "confirmed")  # transitions with which somebody says what an item shows
_SAID = ("class_names", "annotation", "origin", "said_by", "said_at")
_NOT_IN_POOL: dict[str, Any] = {"entered_pool_at": None}


@dataclass(frozen=True)
class State:
    """What the machine knows of an item; all but the group is None while it is only predicted."""

    split: str | None
    evaluation_part: str | None
    annotation: Annotation | None
    label_origin: str | None
    held_back: str | None
    group_key: str
    copy_of: str | None


@dataclass(frozen=True)
class Arrival:
    """An item with the annotation that it comes with. original: what it is a copy of, and whose group it joins."""

    item: ItemRecord
    annotation: Annotation
    original: str | None = None


@dataclass(frozen=True)
class Obstacles:
    """Items of the other split, by id, that keep an item out of one.

    Args:
        copies: copies of it.
        group: members of its group.
        yielding: of either, those with a model's own annotation from which nothing was learned yet: they leave.
    """

    copies: Sequence[str]
    group: Sequence[str]
    yielding: Sequence[str]

    @property
    def blocking(self) -> list[str]:
        """Those that stay."""
        return [*self.copies, *self.group]


_STATE = [items.c[name] for name in State.__dataclass_fields__]


def read_states(connection: sa.Connection, item_ids: Collection[str]) -> dict[str, State]:
    """The states of some items, by id; unknown ones are missing."""
    rows = connection.execute(sa.select(items.c.id, *_STATE, items.c.class_names).where(items.c.id.in_(item_ids)))
    return {item_id: _state(*values) for item_id, *values in rows}


def _state(*values: Any) -> State:
    *known, class_names = values
    state = dict(zip(State.__dataclass_fields__, known, strict=True))
    annotation = None if class_names is None else read_annotation(class_names, state["annotation"])
    return State(**(state | {"annotation": annotation}))


def wait(connection: sa.Connection, arrivals: Sequence[Arrival], actor: str) -> None:
    """Let items wait, in no split, for a person's word on the annotation that their source states."""
    _write(connection, "waiting", actor, arrivals, {"label_origin": "stated", "held_back": "waiting"})


def enter(
    connection: sa.Connection,
    arrivals: Sequence[Arrival],
    split: Split,
    actor: str,
    received_at: datetime | None = None,
) -> None:
    """Take items into the split that a person chose: the pool, or the anchor of the evaluation set.

    Whatever they were so far ends, a harvested annotation among it; leave out those with a person's.

    Args: received_at, when items that nobody knew arrived; now when None.
    """
    becomes = {
        "split": split,
        "evaluation_part": "anchor" if split == "evaluation" else None,
        "label_origin": "curated",
        "entered_pool_at": sa.func.clock_timestamp() if split == "pool" else None,
        "held_back": None,
    }
    _write(connection, "entered", actor, arrivals, becomes, received_at)


def harvest(connection: sa.Connection, item_id: str, annotation: Annotation, model_version: int) -> None:
    """Put an item that is only predicted into the pool under a model's own annotation."""
    becomes = {
        "split": "pool",
        **annotation.columns(),
        "label_origin": "harvested",
        "entered_pool_at": sa.func.clock_timestamp(),
    }
    _change(connection, "harvested", f"version:{model_version}", [item_id], becomes)


def confirm(
    connection: sa.Connection,
    item_id: str,
    annotation: Annotation,
    actor: str,
    mirrored: bool,
    origin: HumanOrigin = "confirmed",
    is_readmitted: bool = False,
) -> bool:
    """Make an annotation a person's word, and give the item the side that it then belongs to for good.

    An item that has a human annotation keeps its side. A copy joins the group of its original, on that side. What a
    model learned from and has a copy in the evaluation set stays out of both, and so does a former version.

    Args:
        item_id: a known item.
        actor: `account:<id>`, or a source whose labels are taken as they come.
        mirrored: whether a mirror image is a copy.
        origin: `curated` for the label of such a source.
        is_readmitted: whether this ends an admin's exclusion; without, an excluded item stays so.
    Returns: whether anything changed.
    """
    lock_membership(connection, "pool")
    (state,) = read_states(connection, [item_id]).values()
    is_human = state.label_origin in HUMAN_ORIGINS
    is_settled = is_human and state.annotation == annotation and state.held_back is None
    is_out = state.held_back == "superseded" or (state.held_back == "excluded" and not is_readmitted)
    if is_settled or is_out:
        return False
    copies = copies_of(connection, item_id, mirrored)
    becomes = _side(connection, item_id, state, copies, actor) | annotation.columns() | {"label_origin": origin}
    return bool(_change(connection, "confirmed", actor, [item_id], becomes))


def suspend(connection: sa.Connection, item_ids: Sequence[str], actor: str, **detail: object) -> int:
    """Take items out of pool and evaluation set until a person's word. Returns how many were in."""
    return _change(connection, "suspended", actor, item_ids, {"held_back": "suspended"} | _NOT_IN_POOL, **detail)


def exclude(connection: sa.Connection, item_id: str, actor: str) -> bool:
    """Take an item out for good. It keeps its split: the rest of its group must stay on that side."""
    return bool(_change(connection, "excluded", actor, [item_id], {"held_back": "excluded"} | _NOT_IN_POOL))


def withdraw(connection: sa.Connection, item_id: str, original: str, actor: str) -> bool:
    """Take an item out of the pool of which the evaluation set has a copy. Snapshots that hold it stay."""
    becomes = {"held_back": "copy", "copy_of": original} | _NOT_IN_POOL
    return bool(_change(connection, "withdrawn", actor, [item_id], becomes))


def hold_out(connection: sa.Connection, group_keys: Collection[str], actor: str) -> int:
    """Move groups that no model has learned from out of the pool, to the recent part of the evaluation set."""
    in_groups = (items.c.split == "pool") & items.c.group_key.in_(group_keys)
    moved = list(connection.scalars(sa.select(items.c.id).where(in_groups)))
    becomes = {"split": "evaluation", "evaluation_part": "recent"} | _NOT_IN_POOL
    return _change(connection, "held_out", actor, moved, becomes)


def supersede(connection: sa.Connection, item_id: str, record: ItemRecord, actor: str) -> None:
    """Let a new version of an item take over all that the former one has. That one leaves; snapshots with it stay.

    Args:
        item_id: a known item, the former version.
        record: the new version. Leave out one that has a place or an annotation already, but for a former version of
            the same item, which comes back.
    """
    lock_membership(connection, "pool")
    (state,) = read_states(connection, [item_id]).values()
    inherited = [*State.__dataclass_fields__, "class_names"]
    takes_over = sa.select(*(items.c[name] for name in inherited)).where(items.c.id == item_id)
    before = read_states(connection, [record.id])
    add_predicted(connection, record)
    is_in_pool = state.split == "pool" and state.held_back is None
    entered = sa.func.clock_timestamp() if is_in_pool else None
    becomes = dict(connection.execute(takes_over).mappings().one()) | {
        "supersedes": item_id,
        "entered_pool_at": entered,
    }
    connection.execute(sa.update(items).where(items.c.id == record.id).values(**becomes))
    out = {"held_back": "superseded", "supersedes": None, "split": None, "evaluation_part": None} | _NOT_IN_POOL
    _inherit(connection, item_id, record.id)
    _change(connection, "superseded", actor, [item_id], out, successor=record.id)
    _record(connection, "took_over", actor, before, [record.id], {"former": item_id})


def choose_split(connection: sa.Connection, item_id: str, group_key: str) -> Split:
    """The side of an arrival with a human annotation: pool, or the recent part of the evaluation set.

    A permanent share of groups, by their hash, is held out. A group that is known stays together where it is, and
    whatever a model may have learned from is never held out afterwards. Call `lock_membership` first.

    Args:
        item_id: the item; it may be in the pool already with a harvested annotation.
        group_key: its group.
    """
    if _exists(connection, items.c.split == "evaluation", items.c.group_key == group_key):
        return "evaluation"
    if _has_companions_in_pool(connection, item_id, group_key) or was_learned(connection, [group_key]):
        return "pool"
    return "evaluation" if is_held_out(group_key) else "pool"


def is_held_out(group_key: str) -> bool:
    """Whether a group of which nothing is known yet goes to the evaluation set: a function of its hash alone."""
    return share_position(group_key) < RECENT_SHARE


def share_position(group_key: str) -> float:
    """Where a group stands in the order in which groups are held out, 0 to 1."""
    # Salted: with the plain hash, as folds use it, the groups held out would be those of the validation fold.
    digest = hashlib.sha256(f"recent:{group_key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def was_learned(connection: sa.Connection, group_keys: Collection[str] = (), item_ids: Collection[str] = ()) -> bool:
    """Whether a snapshot ever held one of these items, one with the same photo, or one of these groups.

    Args: item_ids, of items that need not be known; an image that comes alone is named by its hash.
    """
    photos = {*item_ids, *find_item_images(connection, list(item_ids)).values()}
    is_meant = items.c.group_key.in_(group_keys) | items.c.id.in_(item_ids) | items.c.image_sha256.in_(photos)
    return _exists(connection, is_meant, snapshot_items.c.item_id == items.c.id)


def find_obstacles(
    connection: sa.Connection, split: Split, item_id: str, group_key: str, copies: NearCopies
) -> Obstacles:
    """What an item meets in the other split: copies of it, and its group. What was withdrawn is in no split."""
    other = "evaluation" if split == "pool" else "pool"
    near = {each.item_id: each.label_origin for each in copies.of_split(other)}
    is_of_group = (items.c.group_key == group_key) & (items.c.id != item_id) & (items.c.split == other)
    is_there = is_of_group & items.c.held_back.is_distinct_from("copy")
    group: dict[str, str] = dict(
        connection.execute(sa.select(items.c.id, items.c.label_origin).where(is_there)).tuples().all()
    )
    guesses = [each for each, origin in (near | group).items() if origin == "harvested"]
    yielding = [each for each in guesses if not was_learned(connection, item_ids=[each])]
    return Obstacles(
        copies=[each for each in near if each not in yielding],
        group=[each for each in group if each not in yielding],
        yielding=yielding,
    )


def _side(connection: sa.Connection, item_id: str, state: State, copies: NearCopies, actor: str) -> dict[str, Any]:
    """Split, part, hold and group of an item that has a person's word now."""
    is_member = state.label_origin in HUMAN_ORIGINS and state.split is not None
    split: Any = state.split if is_member else _free_side(connection, item_id, state, copies)
    obstacles = find_obstacles(connection, split, item_id, state.group_key, copies)
    if split == "pool" and obstacles.blocking:
        return {"held_back": "copy", "copy_of": obstacles.blocking[0]} | _NOT_IN_POOL
    if split == "evaluation":
        for guess in obstacles.yielding:
            withdraw(connection, guess, item_id, actor)
    original = None if is_member else copies.original_in(split)
    return {
        "split": split,
        "evaluation_part": (state.evaluation_part or "recent") if split == "evaluation" else None,
        "entered_pool_at": sa.func.clock_timestamp() if split == "pool" else None,
        "held_back": None,
        "group_key": state.group_key if original is None else original.group_key,
        "copy_of": (state.copy_of if is_member else None) if original is None else original.item_id,
    }


def _free_side(connection: sa.Connection, item_id: str, state: State, copies: NearCopies) -> Split:
    """The side of an item that no person has placed yet: that of its copies, else that of its group."""
    is_learned = was_learned(connection, [state.group_key], [item_id])
    if find_obstacles(connection, "evaluation", item_id, state.group_key, copies).blocking:
        return "pool"
    if copies.of_split("evaluation"):
        return "pool" if is_learned else "evaluation"
    return choose_split(connection, item_id, state.group_key)


def _write(
    connection: sa.Connection,
    kind: str,
    actor: str,
    arrivals: Sequence[Arrival],
    becomes: Mapping[str, Any],
    received_at: datetime | None = None,
) -> None:
    """Write rows of items that may be unknown so far, and their parts."""
    if not arrivals:
        return
    lock_membership(connection, "pool")
    ids = [each.item.id for each in arrivals]
    before = read_states(connection, ids)
    add_parts(connection, [each.item for each in arrivals])
    arrived: dict[str, Any] = {} if received_at is None else {"received_at": received_at}
    rows = [
        each.item.row() | arrived | dict(becomes) | each.annotation.columns() | {"copy_of": each.original}
        for each in arrivals
    ]
    statement = insert(items).values(rows)
    set_ = {name: statement.excluded[name] for name in ("group_key", "copy_of", "class_names", "annotation", *becomes)}
    connection.execute(statement.on_conflict_do_update(index_elements=[items.c.id], set_=set_))
    _record(connection, kind, actor, before, ids, {})


def _change(
    connection: sa.Connection,
    kind: str,
    actor: str,
    item_ids: Sequence[str],
    becomes: Mapping[str, Any],
    **detail: object,
) -> int:
    """Change items that are known. Returns how many of them it changed. A former version stays held as that."""
    lock_membership(connection, "pool")
    before = read_states(connection, item_ids)
    change = sa.update(items).where(items.c.id.in_(item_ids)).values(**becomes)
    if "held_back" in becomes:
        change = change.where(items.c.held_back.is_distinct_from("superseded"))
    connection.execute(change)
    return _record(connection, kind, actor, before, item_ids, detail)


def _record(
    connection: sa.Connection,
    kind: str,
    actor: str,
    before: Mapping[str, State],
    item_ids: Sequence[str],
    detail: Mapping[str, object],
) -> int:
    """Keep what changed: in the audit log, a new annotation in its history, and in the index of copies."""
    after = read_states(connection, item_ids)
    changed = [item_id for item_id in item_ids if before.get(item_id) != after[item_id]]
    if not changed:
        return 0
    entries = [_event(item_id, before.get(item_id), after[item_id]) | dict(detail) for item_id in changed]
    rows = [{"kind": f"image.{kind}", "actor": actor, "detail": each} for each in entries]
    connection.execute(sa.insert(events), rows)
    if kind in _LABELLING:
        connection.execute(sa.insert(annotations), [_said(item_id, after[item_id], actor) for item_id in changed])
    let_be_found(connection, changed)
    return len(changed)


def _event(item_id: str, before: State | None, after: State) -> dict[str, object]:
    """What the audit log says, in the words of the API: there, an item goes by the hash of its image."""
    return {"image_sha256": item_id, "before": None if before is None else _shown(before), "after": _shown(after)}


def _shown(state: State) -> dict[str, object]:
    """A state as JSON, its annotation as a label."""
    known = {name: value for name, value in vars(state).items() if name != "annotation"}
    return known | {"label": label_of(state.annotation)}


def _said(item_id: str, state: State, actor: str) -> dict[str, object]:
    said = {} if state.annotation is None else state.annotation.columns()
    return {"item_id": item_id, **said, "origin": state.label_origin, "said_by": actor}


def _inherit(connection: sa.Connection, former: str, item_id: str) -> None:
    """Keep whose word the annotation is that a new version takes over."""
    said = sa.select(sa.literal(item_id), *(annotations.c[name] for name in _SAID))
    last_word = said.where(annotations.c.item_id == former).order_by(annotations.c.id.desc()).limit(1)
    connection.execute(sa.insert(annotations).from_select(["item_id", *_SAID], last_word))
    names = ("account_id", "model_version", "harvested_at")
    harvested = sa.select(sa.literal(item_id), *(harvests.c[name] for name in names)).where(
        harvests.c.item_id == former
    )
    connection.execute(insert(harvests).from_select(["item_id", *names], harvested).on_conflict_do_nothing())


def _has_companions_in_pool(connection: sa.Connection, item_id: str, group_key: str) -> bool:
    is_other_or_human = (items.c.id != item_id) | items.c.label_origin.in_(HUMAN_ORIGINS)
    return _exists(connection, items.c.split == "pool", items.c.group_key == group_key, is_other_or_human)


def _exists(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> bool:
    found: bool = connection.execute(sa.select(sa.exists().where(*conditions))).scalar_one()
    return found
