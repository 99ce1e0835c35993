"""Which images models learn from and which they are measured with: one state machine.

Nothing else changes an image's split, part, label, origin, time of entry, hold or group. Each transition takes the
membership lock, keeps its label in the label history, and writes itself to the audit log, with the state before and
after.

    wait      unknown, predicted, harvested   ->  waiting for a person's word, in no split
    enter     all without a person's label    ->  pool or anchor, as a person chose
    harvest   predicted                       ->  pool, under a model's label
    confirm   all but excluded                ->  pool or evaluation set; held as `copy` where it would cross
    suspend   pool, evaluation set            ->  out, until a person's word
    exclude   all                             ->  out for good, unless confirmed with `is_readmitted`
    withdraw  pool                            ->  out, held as `copy` of an image of the evaluation set
    hold_out  pool                            ->  recent part of the evaluation set
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.images.image_records import ImageRecord, Split
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.locks import lock_membership
from ml.catalog.tables import events, images, labels, snapshot_images
from ml.data.copies.near_copies import NearCopies, copies_of, let_be_found

# A constant, not a setting: another share would send images of known groups to the other side.
RECENT_SHARE = 0.20

HumanOrigin = Literal["confirmed", "curated"]

_LABELLING = ("entered", "harvested", "confirmed")  # transitions with which somebody says what an image shows
_NOT_IN_POOL: dict[str, Any] = {"entered_pool_at": None}


@dataclass(frozen=True)
class State:
    """What the machine knows of an image; all but the group is None while it is only predicted."""

    split: str | None
    evaluation_part: str | None
    label: str | None
    label_origin: str | None
    held_back: str | None
    group_key: str
    copy_of: str | None


@dataclass(frozen=True)
class Arrival:
    """An image with the label that it comes with. original: the image that it is a copy of, whose group it joins."""

    image: ImageRecord
    label: str
    original: str | None = None


@dataclass(frozen=True)
class Obstacles:
    """Images of the other split, by hash, that keep an image out of one.

    Args:
        copies: copies of it.
        group: members of its group.
        yielding: of either, those with a model's own label from which nothing was learned yet: they leave.
    """

    copies: Sequence[str]
    group: Sequence[str]
    yielding: Sequence[str]

    @property
    def blocking(self) -> list[str]:
        """Those that stay."""
        return [*self.copies, *self.group]


_STATE = [images.c[name] for name in State.__dataclass_fields__]


def read_states(connection: sa.Connection, sha256s: Collection[str]) -> dict[str, State]:
    """The states of some images, by hash; unknown ones are missing."""
    rows = connection.execute(sa.select(images.c.sha256, *_STATE).where(images.c.sha256.in_(sha256s)))
    return {sha256: State(*values) for sha256, *values in rows}


def wait(connection: sa.Connection, arrivals: Sequence[Arrival], actor: str) -> None:
    """Let images wait, in no split, for a person's word on the label that their source states."""
    _write(connection, "waiting", actor, arrivals, {"label_origin": "stated", "held_back": "waiting"})


def enter(
    connection: sa.Connection,
    arrivals: Sequence[Arrival],
    split: Split,
    actor: str,
    received_at: datetime | None = None,
) -> None:
    """Take images into the split that a person chose: the pool, or the anchor of the evaluation set.

    Whatever they were so far ends, a harvested label among it; leave out those with a person's label.

    Args: received_at, when images that nobody knew arrived; now when None.
    """
    becomes = {
        "split": split,
        "evaluation_part": "anchor" if split == "evaluation" else None,
        "label_origin": "curated",
        "entered_pool_at": sa.func.clock_timestamp() if split == "pool" else None,
        "held_back": None,
    }
    _write(connection, "entered", actor, arrivals, becomes, received_at)


def harvest(connection: sa.Connection, sha256: str, label: str, model_version: int) -> None:
    """Put an image that is only predicted into the pool under a model's own label."""
    becomes = {
        "split": "pool",
        "label": label,
        "label_origin": "harvested",
        "entered_pool_at": sa.func.clock_timestamp(),
    }
    _change(connection, "harvested", f"version:{model_version}", [sha256], becomes)


def confirm(
    connection: sa.Connection,
    sha256: str,
    label: str,
    actor: str,
    mirrored: bool,
    origin: HumanOrigin = "confirmed",
    is_readmitted: bool = False,
) -> bool:
    """Make a label a person's word, and give the image the side that it then belongs to for good.

    An image that has a human label keeps its side. A copy joins the group of its original, on that side. What a model
    learned from and has a copy in the evaluation set stays out of both.

    Args:
        sha256: a known image.
        actor: `account:<id>`, or a source whose labels are taken as they come.
        mirrored: whether a mirror image is a copy.
        origin: `curated` for the label of such a source.
        is_readmitted: whether this ends an admin's exclusion; without, an excluded image stays so.
    Returns: whether anything changed.
    """
    lock_membership(connection, "pool")
    (state,) = read_states(connection, [sha256]).values()
    is_human = state.label_origin in HUMAN_ORIGINS
    is_settled = is_human and state.label == label and state.held_back is None
    if is_settled or (state.held_back == "excluded" and not is_readmitted):
        return False
    copies = copies_of(connection, sha256, mirrored)
    becomes = _side(connection, sha256, state, copies, actor) | {"label": label, "label_origin": origin}
    return bool(_change(connection, "confirmed", actor, [sha256], becomes))


def suspend(connection: sa.Connection, sha256s: Sequence[str], actor: str, **detail: object) -> int:
    """Take images out of pool and evaluation set until a person's word. Returns how many were in."""
    return _change(connection, "suspended", actor, sha256s, {"held_back": "suspended"} | _NOT_IN_POOL, **detail)


def exclude(connection: sa.Connection, sha256: str, actor: str) -> bool:
    """Take an image out for good. It keeps its split: the rest of its group must stay on that side."""
    return bool(_change(connection, "excluded", actor, [sha256], {"held_back": "excluded"} | _NOT_IN_POOL))


def withdraw(connection: sa.Connection, sha256: str, original: str, actor: str) -> bool:
    """Take an image out of the pool of which the evaluation set has a copy. Snapshots that hold it stay."""
    becomes = {"held_back": "copy", "copy_of": original} | _NOT_IN_POOL
    return bool(_change(connection, "withdrawn", actor, [sha256], becomes))


def hold_out(connection: sa.Connection, group_keys: Collection[str], actor: str) -> int:
    """Move groups that no model has learned from out of the pool, to the recent part of the evaluation set."""
    in_groups = (images.c.split == "pool") & images.c.group_key.in_(group_keys)
    moved = list(connection.scalars(sa.select(images.c.sha256).where(in_groups)))
    becomes = {"split": "evaluation", "evaluation_part": "recent"} | _NOT_IN_POOL
    return _change(connection, "held_out", actor, moved, becomes)


def choose_split(connection: sa.Connection, sha256: str, group_key: str) -> Split:
    """The side of an arrival with a human label: pool, or the recent part of the evaluation set.

    A permanent share of groups, by their hash, is held out. A group that is known stays together where it is, and
    whatever a model may have learned from is never held out afterwards. Call `lock_membership` first.

    Args:
        sha256: the image; it may be in the pool already with a harvested label.
        group_key: its group.
    """
    if _exists(connection, images.c.split == "evaluation", images.c.group_key == group_key):
        return "evaluation"
    if _has_companions_in_pool(connection, sha256, group_key) or was_learned(connection, [group_key]):
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


def was_learned(connection: sa.Connection, group_keys: Collection[str] = (), sha256s: Collection[str] = ()) -> bool:
    """Whether a snapshot ever held one of these images, or one of these groups."""
    is_meant = images.c.group_key.in_(group_keys) | images.c.sha256.in_(sha256s)
    return _exists(connection, is_meant, snapshot_images.c.image_sha256 == images.c.sha256)


def find_obstacles(
    connection: sa.Connection, split: Split, sha256: str, group_key: str, copies: NearCopies
) -> Obstacles:
    """What an image meets in the other split: copies of it, and its group. What was withdrawn is in no split."""
    other = "evaluation" if split == "pool" else "pool"
    near = {each.sha256: each.label_origin for each in copies.of_split(other)}
    is_of_group = (images.c.group_key == group_key) & (images.c.sha256 != sha256) & (images.c.split == other)
    is_there = is_of_group & images.c.held_back.is_distinct_from("copy")
    group: dict[str, str] = dict(
        connection.execute(sa.select(images.c.sha256, images.c.label_origin).where(is_there)).tuples().all()
    )
    guesses = [each for each, origin in (near | group).items() if origin == "harvested"]
    yielding = [each for each in guesses if not was_learned(connection, sha256s=[each])]
    return Obstacles(
        copies=[each for each in near if each not in yielding],
        group=[each for each in group if each not in yielding],
        yielding=yielding,
    )


def _side(connection: sa.Connection, sha256: str, state: State, copies: NearCopies, actor: str) -> dict[str, Any]:
    """Split, part, hold and group of an image that has a person's word now."""
    is_member = state.label_origin in HUMAN_ORIGINS and state.split is not None
    split: Any = state.split if is_member else _free_side(connection, sha256, state, copies)
    obstacles = find_obstacles(connection, split, sha256, state.group_key, copies)
    if split == "pool" and obstacles.blocking:
        return {"held_back": "copy", "copy_of": obstacles.blocking[0]} | _NOT_IN_POOL
    if split == "evaluation":
        for guess in obstacles.yielding:
            withdraw(connection, guess, sha256, actor)
    original = None if is_member else copies.original_in(split)
    return {
        "split": split,
        "evaluation_part": (state.evaluation_part or "recent") if split == "evaluation" else None,
        "entered_pool_at": sa.func.clock_timestamp() if split == "pool" else None,
        "held_back": None,
        "group_key": state.group_key if original is None else original.group_key,
        "copy_of": (state.copy_of if is_member else None) if original is None else original.sha256,
    }


def _free_side(connection: sa.Connection, sha256: str, state: State, copies: NearCopies) -> Split:
    """The side of an image that no person has placed yet: that of its copies, else that of its group."""
    is_learned = was_learned(connection, [state.group_key], [sha256])
    if find_obstacles(connection, "evaluation", sha256, state.group_key, copies).blocking:
        return "pool"
    if copies.of_split("evaluation"):
        return "pool" if is_learned else "evaluation"
    return choose_split(connection, sha256, state.group_key)


def _write(
    connection: sa.Connection,
    kind: str,
    actor: str,
    arrivals: Sequence[Arrival],
    becomes: Mapping[str, Any],
    received_at: datetime | None = None,
) -> None:
    """Write rows of images that may be unknown so far."""
    if not arrivals:
        return
    lock_membership(connection, "pool")
    before = read_states(connection, [each.image.sha256 for each in arrivals])
    arrived: dict[str, Any] = {} if received_at is None else {"received_at": received_at}
    rows = [
        vars(each.image) | arrived | dict(becomes) | {"label": each.label, "copy_of": each.original}
        for each in arrivals
    ]
    statement = insert(images).values(rows)
    set_ = {name: statement.excluded[name] for name in ("group_key", "copy_of", "label", *becomes)}
    connection.execute(statement.on_conflict_do_update(index_elements=[images.c.sha256], set_=set_))
    _record(connection, kind, actor, before, [each.image.sha256 for each in arrivals], {})


def _change(
    connection: sa.Connection,
    kind: str,
    actor: str,
    sha256s: Sequence[str],
    becomes: Mapping[str, Any],
    **detail: object,
) -> int:
    """Change images that are known. Returns how many of them it changed."""
    lock_membership(connection, "pool")
    before = read_states(connection, sha256s)
    connection.execute(sa.update(images).where(images.c.sha256.in_(sha256s)).values(**becomes))
    return _record(connection, kind, actor, before, sha256s, detail)


def _record(
    connection: sa.Connection,
    kind: str,
    actor: str,
    before: Mapping[str, State],
    sha256s: Sequence[str],
    detail: Mapping[str, object],
) -> int:
    """Keep what changed: in the audit log, a new label in the label history, and in the index of copies."""
    after = read_states(connection, sha256s)
    changed = [sha256 for sha256 in sha256s if before.get(sha256) != after[sha256]]
    if not changed:
        return 0
    entries = [_event(sha256, before.get(sha256), after[sha256]) | dict(detail) for sha256 in changed]
    rows = [{"kind": f"image.{kind}", "actor": actor, "detail": each} for each in entries]
    connection.execute(sa.insert(events), rows)
    if kind in _LABELLING:
        connection.execute(sa.insert(labels), [_said(sha256, after[sha256], actor) for sha256 in changed])
    let_be_found(connection, changed)
    return len(changed)


def _event(sha256: str, before: State | None, after: State) -> dict[str, object]:
    return {"image_sha256": sha256, "before": None if before is None else asdict(before), "after": asdict(after)}


def _said(sha256: str, state: State, actor: str) -> dict[str, object]:
    return {"image_sha256": sha256, "label": state.label, "origin": state.label_origin, "said_by": actor}


def _has_companions_in_pool(connection: sa.Connection, sha256: str, group_key: str) -> bool:
    is_other_or_human = (images.c.sha256 != sha256) | images.c.label_origin.in_(HUMAN_ORIGINS)
    return _exists(connection, images.c.split == "pool", images.c.group_key == group_key, is_other_or_human)


def _exists(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> bool:
    found: bool = connection.execute(sa.select(sa.exists().where(*conditions))).scalar_one()
    return found
