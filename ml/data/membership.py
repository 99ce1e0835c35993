"""The state machine of items: which ones are used for training, and which ones for evaluation.

No other code changes an item's split, part, annotation, origin, time of entry, hold or group. Each transition takes the
membership lock, adds new annotations to their history, and adds an event to the audit log, with the state before and
after.

    wait      unknown, predicted, harvested   ->  no split, waits for a person's decision
    enter     all without a human label       ->  pool or anchor, as a person chose
    harvest   predicted                       ->  pool, with a model's label
    confirm   all except excluded             ->  pool or evaluation set; held back as `copy` if the other split has one
    suspend   pool, evaluation set            ->  held back until a person decides
    exclude   all                             ->  held back for good, unless confirmed with `is_readmitted`
    withdraw  pool                            ->  held back as `copy` of an item of the evaluation set
    hold_out  pool                            ->  recent part of the evaluation set
    supersede all                             ->  held back for good, no split; the new version takes over the state
    erase     all                             ->  a tombstone: no split, no annotation, and soon no photo
    restore   all, if unchanged since         ->  the state before a decision that is undone
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
from ml.data.copies.near_copies import NearCopies, copies_of, index_items

# A constant, not a setting: with another share, new images of a known group could get another split than the group.
RECENT_SHARE = 0.20

HumanOrigin = Literal["confirmed", "curated"]

_LABELLING = ("entered", "harvested", "confirmed")  # transitions that set an annotation
# The parts too: an erased item has lost them.
_ARRIVING = ("image_sha256", "text_sha256", "group_key", "copy_of", "class_names", "annotation")
_ANNOTATION_COLUMNS = ("class_names", "annotation", "origin", "said_by", "said_at")
_NOT_IN_POOL: dict[str, Any] = {"entered_pool_at": None}
_FINAL = ("superseded", "erased")  # reasons that no later decision about the item changes


@dataclass(frozen=True)
class State:
    """The state of an item. All fields except the group are None while the item is only predicted."""

    split: str | None
    evaluation_part: str | None
    annotation: Annotation | None
    label_origin: str | None
    held_back: str | None
    group_key: str
    copy_of: str | None


@dataclass(frozen=True)
class Arrival:
    """A new item and its annotation. original: id of the item that it is a copy of, and whose group it joins."""

    item: ItemRecord
    annotation: Annotation
    original: str | None = None


@dataclass(frozen=True)
class Obstacles:
    """Ids of the items in the other split that keep an item out of a split.

    Args:
        copies: copies of the item that stay.
        group: members of its group that stay.
        yielding: harvested copies and group members that no model was trained on yet. They leave their split.
    """

    copies: Sequence[str]
    group: Sequence[str]
    yielding: Sequence[str]

    @property
    def blocking(self) -> list[str]:
        """The ids of the items that stay."""
        return [*self.copies, *self.group]


_STATE = [items.c[name] for name in State.__dataclass_fields__]
_PLACEMENT = [*_STATE, items.c.class_names, items.c.entered_pool_at]


def read_states(connection: sa.Connection, item_ids: Collection[str]) -> dict[str, State]:
    """Return the state of each item by its id. Unknown ids are missing."""
    rows = connection.execute(sa.select(items.c.id, *_STATE, items.c.class_names).where(items.c.id.in_(item_ids)))
    return {item_id: _state(*values) for item_id, *values in rows}


def _state(*values: Any) -> State:
    *known, class_names = values
    state = dict(zip(State.__dataclass_fields__, known, strict=True))
    annotation = None if class_names is None else read_annotation(class_names, state["annotation"])
    return State(**(state | {"annotation": annotation}))


def read_placements(connection: sa.Connection, item_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return all that a transition may change of each item, as JSON, by its id. Unknown ids are missing."""
    rows = connection.execute(sa.select(items.c.id, *_PLACEMENT).where(items.c.id.in_(item_ids))).mappings()
    return {row["id"]: {column.name: _jsonable(row[column.name]) for column in _PLACEMENT} for row in rows}


def _jsonable(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def restore(
    connection: sa.Connection, item_id: str, before: Mapping[str, Any], after: Mapping[str, Any], actor: str
) -> bool:
    """Give an item back the state that it had before a decision, to the time of its entry into the pool.

    Args: before, after, of `read_placements`.
    Returns: False if the state is another one than that after the decision; then nothing changes.
    """
    lock_membership(connection, "pool")
    if read_placements(connection, [item_id]).get(item_id) != after:
        return False
    states = read_states(connection, [item_id])
    entered = before["entered_pool_at"]
    values = {**before, "entered_pool_at": None if entered is None else datetime.fromisoformat(entered)}
    connection.execute(sa.update(items).where(items.c.id == item_id).values(values))
    _repeat_annotation(connection, item_id, before)
    _record(connection, "restored", actor, states, [item_id], {})
    return True


def _repeat_annotation(connection: sa.Connection, item_id: str, before: Mapping[str, Any]) -> None:
    """Add the former annotation to the history once more, with who said it: the last entry is the current one."""
    if before["class_names"] is None:
        return
    is_former = (annotations.c.class_names == before["class_names"]) & (annotations.c.origin == before["label_origin"])
    former = sa.select(annotations.c.item_id, *(annotations.c[name] for name in _ANNOTATION_COLUMNS))
    former = former.where(annotations.c.item_id == item_id, is_former).order_by(annotations.c.id.desc()).limit(1)
    connection.execute(sa.insert(annotations).from_select(["item_id", *_ANNOTATION_COLUMNS], former))


def wait(connection: sa.Connection, arrivals: Sequence[Arrival], actor: str) -> None:
    """Add items without a split. They wait until a person decides about the annotation that their source states.

    A guess in the pool that a source contradicts leaves it.
    """
    out = {"split": None, "evaluation_part": None} | _NOT_IN_POOL
    _write(connection, "waiting", actor, arrivals, {"label_origin": "stated", "held_back": "waiting"} | out)


def enter(
    connection: sa.Connection,
    arrivals: Sequence[Arrival],
    split: Split,
    actor: str,
    received_at: datetime | None = None,
) -> None:
    """Add items to the split that a person chose: the pool, or the anchor of the evaluation set.

    This replaces the items' former state, such as a harvested annotation. Do not pass items with a human annotation.

    Args: received_at, time of arrival of unknown items; None for now.
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
    """Add an item that is only predicted to the pool, with a model's annotation."""
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
    """Store a human annotation, and assign the item to the split where it then stays.

    An item that has a human annotation keeps its split. A copy joins the group of its original, in the same split. An
    item that a model was trained on and that has a copy in the evaluation set gets no split, nor does a former version.

    Args:
        item_id: a known item.
        actor: `account:<id>`, or a source whose labels need no confirmation.
        mirrored: whether a mirror image is a copy.
        origin: `curated` for the label of such a source.
        is_readmitted: whether this ends an admin's exclusion; if not, an excluded item stays excluded.
    Returns: whether the item changed.
    """
    lock_membership(connection, "pool")
    (state,) = read_states(connection, [item_id]).values()
    is_human = state.label_origin in HUMAN_ORIGINS
    is_settled = is_human and state.annotation == annotation and state.held_back is None
    is_out = state.held_back in _FINAL or (state.held_back == "excluded" and not is_readmitted)
    if is_settled or is_out:
        return False
    copies = copies_of(connection, item_id, mirrored)
    becomes = _choose_place(connection, item_id, state, copies, actor) | annotation.columns() | {"label_origin": origin}
    return bool(_change(connection, "confirmed", actor, [item_id], becomes))


def suspend(connection: sa.Connection, item_ids: Sequence[str], actor: str, **detail: object) -> int:
    """Remove items from pool and evaluation set until a person decides. Return the number of removed items."""
    return _change(connection, "suspended", actor, item_ids, {"held_back": "suspended"} | _NOT_IN_POOL, **detail)


def exclude(connection: sa.Connection, item_id: str, actor: str) -> bool:
    """Exclude an item for good. The row keeps its split, because the rest of its group must stay in that split."""
    return bool(_change(connection, "excluded", actor, [item_id], {"held_back": "excluded"} | _NOT_IN_POOL))


def withdraw(connection: sa.Connection, item_id: str, original: str, actor: str) -> bool:
    """Remove an item from the pool because the evaluation set has a copy of it. Existing snapshots do not change."""
    becomes = {"held_back": "copy", "copy_of": original} | _NOT_IN_POOL
    return bool(_change(connection, "withdrawn", actor, [item_id], becomes))


def hold_out(connection: sa.Connection, group_keys: Collection[str], actor: str) -> int:
    """Move groups from the pool to the recent part of the evaluation set. No model may have been trained on them."""
    in_groups = (items.c.split == "pool") & items.c.group_key.in_(group_keys)
    moved = list(connection.scalars(sa.select(items.c.id).where(in_groups)))
    becomes = {"split": "evaluation", "evaluation_part": "recent"} | _NOT_IN_POOL
    return _change(connection, "held_out", actor, moved, becomes)


def supersede(connection: sa.Connection, item_id: str, record: ItemRecord, actor: str) -> None:
    """Replace an item by a new version, which takes over its state. Existing snapshots keep the former version.

    Args:
        item_id: a known item, the former version.
        record: the new version. It must not have a split or an annotation, unless it is an earlier version of the same
            item, which becomes the current one again.
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


def erase(connection: sa.Connection, item_id: str, actor: str) -> None:
    """Turn an item into a tombstone. Snapshots and evaluation sets keep its row, which then stands for no photo.

    Its group stays, because its companions must stay in their split.
    """
    gone = {"class_names": None, "annotation": None, "label_origin": None, "copy_of": None}
    becomes = {"held_back": "erased", "split": None, "evaluation_part": None} | gone | _NOT_IN_POOL
    _change(connection, "erased", actor, [item_id], becomes)


def choose_split(connection: sa.Connection, item_id: str, group_key: str) -> Split:
    """Return the split of a new item with a human annotation: pool, or the recent part of the evaluation set.

    A fixed share of the groups is held out, chosen by their hash. A known group stays in its split, and a group that a
    model may have been trained on is never held out later. Call `lock_membership` first.

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
    """Return whether a new group goes to the evaluation set. This depends only on the hash of its key."""
    return share_position(group_key) < RECENT_SHARE


def share_position(group_key: str) -> float:
    """Return the position of a group in the order in which groups are held out, 0 to 1."""
    # The prefix makes this independent of the folds, which use the plain hash. Without it, the held-out groups would be
    # those of the validation fold.
    digest = hashlib.sha256(f"recent:{group_key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def was_learned(connection: sa.Connection, group_keys: Collection[str] = (), item_ids: Collection[str] = ()) -> bool:
    """Return whether a snapshot holds one of these items, an item with the same photo, or an item of these groups.

    Args: item_ids, also of unknown items. The id of an item with only an image is the image's hash.
    """
    photos = {*item_ids, *find_item_images(connection, list(item_ids)).values()}
    is_meant = items.c.group_key.in_(group_keys) | items.c.id.in_(item_ids) | items.c.image_sha256.in_(photos)
    return _exists(connection, is_meant, snapshot_items.c.item_id == items.c.id)


def find_obstacles(
    connection: sa.Connection, split: Split, item_id: str, group_key: str, copies: NearCopies
) -> Obstacles:
    """Find copies and group members of an item in the other split. Withdrawn items count as in no split."""
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


def _choose_place(
    connection: sa.Connection, item_id: str, state: State, copies: NearCopies, actor: str
) -> dict[str, Any]:
    """Return the new split, part, hold and group of an item that gets a human annotation."""
    is_member = state.label_origin in HUMAN_ORIGINS and state.split is not None
    split: Any = state.split if is_member else _choose_free_split(connection, item_id, state, copies)
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


def _choose_free_split(connection: sa.Connection, item_id: str, state: State, copies: NearCopies) -> Split:
    """Return the split of an item without a human annotation: that of its copies, else that of its group."""
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
    """Insert or update the rows of items, and insert their parts."""
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
    set_ = {name: statement.excluded[name] for name in (*_ARRIVING, *becomes)}
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
    """Change known items, and return the number of changed ones.

    The hold of a former version and of an erased item does not change.
    """
    lock_membership(connection, "pool")
    before = read_states(connection, item_ids)
    change = sa.update(items).where(items.c.id.in_(item_ids)).values(**becomes)
    if "held_back" in becomes:
        change = change.where(sa.func.coalesce(items.c.held_back, "").not_in(_FINAL))
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
    """Record the changed items in the audit log, in the history of annotations, and in the index of copies."""
    after = read_states(connection, item_ids)
    changed = [item_id for item_id in item_ids if before.get(item_id) != after[item_id]]
    if not changed:
        return 0
    entries = [_event(item_id, before.get(item_id), after[item_id]) | dict(detail) for item_id in changed]
    rows = [{"kind": f"image.{kind}", "actor": actor, "detail": each} for each in entries]
    connection.execute(sa.insert(events), rows)
    if kind in _LABELLING:
        connection.execute(
            sa.insert(annotations), [_annotation_row(item_id, after[item_id], actor) for item_id in changed]
        )
    index_items(connection, changed)
    return len(changed)


def _event(item_id: str, before: State | None, after: State) -> dict[str, object]:
    """Return the detail of an event, with the API's names: there the key of an item's id is `image_sha256`."""
    return {"image_sha256": item_id, "before": None if before is None else _to_json(before), "after": _to_json(after)}


def _to_json(state: State) -> dict[str, object]:
    """Return a state as JSON, with the annotation as a label."""
    known = {name: value for name, value in vars(state).items() if name != "annotation"}
    return known | {"label": label_of(state.annotation)}


def _annotation_row(item_id: str, state: State, actor: str) -> dict[str, object]:
    columns = {} if state.annotation is None else state.annotation.columns()
    return {"item_id": item_id, **columns, "origin": state.label_origin, "said_by": actor}


def _inherit(connection: sa.Connection, former: str, item_id: str) -> None:
    """Copy the latest annotation and the harvest of a former version to the new version."""
    history = sa.select(sa.literal(item_id), *(annotations.c[name] for name in _ANNOTATION_COLUMNS))
    latest = history.where(annotations.c.item_id == former).order_by(annotations.c.id.desc()).limit(1)
    connection.execute(sa.insert(annotations).from_select(["item_id", *_ANNOTATION_COLUMNS], latest))
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
