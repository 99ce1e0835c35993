"""Decide about items in a review queue, and undo decisions. Who decides first stands; everybody else is told."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.accounts.user_accounts import Account
from ml.catalog.annotations import Annotation, AnnotationReader, label_of
from ml.catalog.database import Catalog
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.locks import lock_membership
from ml.catalog.logs.events import write_event
from ml.catalog.reviews.review_decisions import (
    DecisionKind,
    StoredDecision,
    find_decisions,
    find_last_decisions,
    note_undone,
    save_decision,
)
from ml.catalog.reviews.review_queues import Queue, find_entries
from ml.catalog.tables import item_classes, items, review_entries
from ml.data.copies.near_copies import copies_of, prepare_search
from ml.data.feedback import is_known_label
from ml.data.membership import confirm, exclude, read_placements, restore
from ml.errors import ForbiddenError, ReviewConflictError, ReviewError, UnknownImageError

_LONGEST_REASON = 500


@dataclass(frozen=True)
class Decision:
    """What a reviewer says about one item.

    Args:
        seen: the item's state when the reviewer saw it, of `read_seen`.
        label: what the item shows, with `certify` and `correct`.
        reason: why the item is of no use, with `reject`.
    """

    item_id: str
    queue: Queue
    seen: str
    decision: DecisionKind
    label: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Conflict:
    """An item that somebody else decided about first.

    Args:
        last: the last decision about it; None if the item was changed in another way.
        told: who decided what and when, in a sentence.
    """

    item_id: str
    last: StoredDecision | None
    told: str


@dataclass(frozen=True)
class Outcome:
    """What became of some decisions. Args: decided, item id -> id of the decision, in the order of the decisions."""

    decided: dict[str, int]
    conflicts: list[Conflict]

    def demand_any(self) -> None:
        """Raise if nothing was decided.

        Raises: ReviewConflictError, somebody else decided about every one of the items first.
        """
        if not self.decided:
            raise _all_conflicts(self.conflicts)


@dataclass(frozen=True)
class Undone:
    """The result of an undo. Args: undone, ids of the decisions that were undone."""

    undone: list[int]
    conflicts: list[Conflict]

    def demand_any(self) -> None:
        """Raise if nothing was undone.

        Raises: ReviewConflictError, every one of the items was changed since.
        """
        if not self.undone:
            raise _all_conflicts(self.conflicts)


def read_seen(connection: sa.Connection, item_ids: Collection[str]) -> dict[str, str]:
    """Return a short text for the state of each item. It changes with the state, and with every decision about it."""
    placements, last = read_placements(connection, item_ids), find_last_decisions(connection, item_ids)
    return {item_id: _digest(placement, last.get(item_id)) for item_id, placement in placements.items()}


def _digest(placement: dict[str, Any], last: StoredDecision | None) -> str:
    decided = None if last is None else [last.id, last.undone_at is not None]
    return hashlib.sha256(json.dumps([placement, decided], sort_keys=True).encode()).hexdigest()[:16]


def decide(
    catalog: Catalog, account: Account, decisions: Sequence[Decision], mirrored: bool, reader: AnnotationReader
) -> Outcome:
    """Apply the decisions of a reviewer whose items are still as the reviewer saw them, each with its audit log.

    Args:
        account: an expert or an admin.
        decisions: at most one for each item.
        mirrored: whether a mirror image is a copy.
        reader: reads the labels.
    Raises:
        LabelError: the task cannot read a label.
        ReviewError: a label or a reason is missing, or nobody has used that name for a class yet.
        UnknownImageError: no item has one of the ids.
        ImageStoreError, DatabaseUnavailableError.
    """
    read = [(each, _read_label(each, reader)) for each in decisions]
    prepare_search(catalog, [each.item_id for each, annotation in read if annotation is not None], mirrored)
    with catalog.begin() as connection:
        lock_membership(connection, "pool")
        ids = [each.item_id for each in decisions]
        seen = read_seen(connection, ids)
        if unknown := sorted(set(ids) - seen.keys()):
            raise UnknownImageError(f"Expected ids of known items, got {', '.join(unknown)}. Nothing was decided.")
        _demand_known(connection, read)
        entries = {queue: find_entries(connection, queue, ids) for queue in {each.queue for each in decisions}}
        outcome = Outcome({}, [])
        for decision, annotation in read:
            is_current = decision.seen == seen[decision.item_id] and decision.item_id in entries[decision.queue]
            # A decision before may have changed this item too: a copy leaves the pool.
            if is_current and read_seen(connection, [decision.item_id])[decision.item_id] == decision.seen:
                outcome.decided[decision.item_id] = _apply(connection, account, decision, annotation, mirrored)
            else:
                outcome.conflicts.append(_tell(connection, decision.item_id))
    return outcome


def undo(catalog: Catalog, account: Account, decision_ids: Collection[int]) -> Undone:
    """Undo decisions, newest first. All items that they changed get their former state back, and the audit log says so.

    Args: account, who decided, or an admin.
    Raises:
        ReviewError: no decision has one of the ids.
        ForbiddenError: another reviewer decided; DatabaseUnavailableError.
    """
    undone = Undone([], [])
    with catalog.begin() as connection:
        lock_membership(connection, "pool")
        decisions = find_decisions(connection, decision_ids)
        if len(decisions) < len(set(decision_ids)):
            raise ReviewError("decisions: expected ids of decisions, got an id that no decision has.")
        if account.role != "admin" and any(each.account_id != account.id for each in decisions):
            raise ForbiddenError("Expected decisions of your own: only admins undo those of others.")
        for decision in decisions:
            if _restore(connection, decision, actor_name(account)):
                undone.undone.append(decision.id)
            else:
                undone.conflicts.append(_tell(connection, decision.item_id))
    return undone


def _all_conflicts(conflicts: Sequence[Conflict]) -> ReviewConflictError:
    return ReviewConflictError(" ".join(each.told for each in conflicts))


def _read_label(decision: Decision, reader: AnnotationReader) -> Annotation | None:
    if decision.decision == "reject":
        if decision.label is not None or not (decision.reason or "").strip():
            raise ReviewError("Expected a reason and no label with `reject`, which says that the item is of no use.")
        if len(decision.reason or "") > _LONGEST_REASON:
            raise ReviewError(f"reason: expected at most {_LONGEST_REASON} characters, got more.")
        return None
    if decision.label is None or decision.reason is not None:
        raise ReviewError(f"Expected a label and no reason with `{decision.decision}`.")
    return reader.read_label(decision.label)


def _demand_known(connection: sa.Connection, read: Sequence[tuple[Decision, Annotation | None]]) -> None:
    """Refuse misspelt classes: a name must be known, or a model or a source must have said it of some item."""
    names = {name for _, annotation in read if annotation is not None for name in annotation.class_names}
    said = (
        sa.select(column).where(column.in_(names)).distinct()
        for column in (item_classes.c.class_name, review_entries.c.class_name)
    )
    for name in sorted(names.difference(connection.scalars(sa.union(*said)))):
        if not is_known_label(connection, name):
            raise ReviewError(
                f"label: expected a class that a model or a stored image has, got {name!r}. Check its spelling."
            )


def _apply(
    connection: sa.Connection, account: Account, decision: Decision, annotation: Annotation | None, mirrored: bool
) -> int:
    item_id, actor = decision.item_id, actor_name(account)
    touched = _find_touched(connection, item_id, mirrored) if annotation is not None else {item_id}
    before = read_placements(connection, touched)
    if annotation is None:
        exclude(connection, item_id, actor)
    else:
        confirm(connection, item_id, annotation, actor, mirrored)
    after = read_placements(connection, touched)
    changes = [
        {"id": each, "before": before[each], "after": after[each]}
        for each in sorted(touched)
        if before[each] != after[each]
    ]
    label = label_of(annotation)
    stored = (item_id, decision.queue, decision.decision, label, decision.reason, account.id, changes)
    decision_id = save_decision(connection, *stored)
    # Without the reason: an account that is erased takes along what it typed, and the audit log never changes.
    detail = {"image_sha256": item_id, "queue": decision.queue, "label": label, "decision": decision_id}
    write_event(connection, f"review.{decision.decision}", actor, detail)
    return decision_id


def _find_touched(connection: sa.Connection, item_id: str, mirrored: bool) -> set[str]:
    """Return the items that a person's label may change: the item, and guesses that yield to it."""
    group_key = sa.select(items.c.group_key).where(items.c.id == item_id).scalar_subquery()
    is_guess = (items.c.group_key == group_key) & items.c.label_origin.not_in(HUMAN_ORIGINS)
    copies = {each.item_id for each in copies_of(connection, item_id, mirrored).found}
    return {item_id, *copies, *connection.scalars(sa.select(items.c.id).where(is_guess))}


def _restore(connection: sa.Connection, decision: StoredDecision, actor: str) -> bool:
    """Restore all items of a decision, or none."""
    if decision.undone_at is not None:
        return False
    current = read_placements(connection, [each["id"] for each in decision.changes])
    if any(current.get(each["id"]) != each["after"] for each in decision.changes):
        return False
    for each in decision.changes:
        restore(connection, each["id"], each["before"], each["after"], actor)
    note_undone(connection, decision.id)
    detail = {"image_sha256": decision.item_id, "queue": decision.queue, "decision": decision.id}
    write_event(connection, "review.undone", actor, detail)
    return True


def _tell(connection: sa.Connection, item_id: str) -> Conflict:
    last = find_last_decisions(connection, [item_id]).get(item_id)
    shown = item_id[:8]
    if last is None:
        told = f"Item {shown} was changed since you saw it. Your decision about it was not made."
        return Conflict(item_id, None, told)
    who, when = last.login or "A former account", f"{last.undone_at or last.decided_at:%Y-%m-%d %H:%M} UTC"
    what = {"certify": "certified", "correct": "corrected", "reject": "rejected"}[last.decision]
    of = f"as {last.class_name!r}" if last.reason is None else f"because of {last.reason or 'an erased reason'!r}"
    was_undone = " and this was undone" if last.undone_at is not None else ""
    return Conflict(
        item_id, last, f"{who} {what} item {shown} {of}{was_undone}, {when}. Your decision about it was not made."
    )
