"""What an admin does to labels and membership: certify, relabel, exclude. All of a list, or nothing of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from ml.catalog.annotations import Annotation, label_of
from ml.catalog.database import Catalog
from ml.catalog.images.batches import find_waiting, load_batch
from ml.catalog.locks import lock_membership
from ml.catalog.logs.events import write_event
from ml.catalog.tables import items
from ml.data.copies.near_copies import prepare_search
from ml.data.membership import confirm, exclude, read_states
from ml.errors import ImageChangeError, UnknownImageError

Action = Literal["certify", "relabel", "exclude"]


@dataclass(frozen=True)
class Change:
    """What to do to one item.

    Args:
        action: `certify` makes the annotation that it has a person's word, `relabel` gives it another, `exclude` takes
            it out of the pool and the evaluation set. The first two also end an exclusion.
        annotation: with `relabel` only.
    """

    action: Action
    item_id: str
    annotation: Annotation | None = None


@dataclass(frozen=True)
class ItemState:
    """What an admin's change is about."""

    annotation: Annotation | None
    label_origin: str | None
    split: str | None
    held_back: str | None

    def shown(self) -> dict[str, str | None]:
        """As JSON has it, for people: its annotation as a label."""
        known = {name: value for name, value in vars(self).items() if name != "annotation"}
        return {"label": label_of(self.annotation), **known}


@dataclass(frozen=True)
class Changed:
    """How one change went. `before` and `after` are equal where there was nothing to do."""

    change: Change
    before: ItemState
    after: ItemState

    @property
    def is_changed(self) -> bool:
        return self.before != self.after


def change_images(catalog: Catalog, changes: Sequence[Change], actor: str, mirrored: bool) -> list[Changed]:
    """Make changes in their order, all of them or none; see `apply_changes`. What takes long is done before.

    Raises: also ImageStoreError, the store cannot be read.
    """
    entering = list(dict.fromkeys(each.item_id for each in changes if each.action != "exclude"))
    prepare_search(catalog, entering, mirrored)
    with catalog.begin() as connection:
        return apply_changes(connection, changes, actor, mirrored)


def settle_batches(catalog: Catalog, batch_ids: Sequence[int], action: Action, actor: str, mirrored: bool) -> int:
    """Certify or exclude all that still waits of some batches; see `decide_batches`. What takes long is done before.

    Raises: also ImageStoreError, the store cannot be read.
    """
    if action != "exclude":
        with catalog.begin() as connection:
            waiting = find_waiting(connection, batch_ids)
        prepare_search(catalog, waiting, mirrored)
    with catalog.begin() as connection:
        return decide_batches(connection, batch_ids, action, actor, mirrored)


def apply_changes(connection: sa.Connection, changes: Sequence[Change], actor: str, mirrored: bool) -> list[Changed]:
    """Make changes in their order, each with a line in the audit log. An error leaves the transaction to roll back.

    Args:
        actor: `account:<id>`, or a person's name on the command line.
        mirrored: whether a mirror image is a copy.
    Raises:
        UnknownImageError: naming the items that nobody knows.
        ImageChangeError: an item without an annotation is to be certified.
    """
    lock_membership(connection, "pool")
    _demand_known(connection, {change.item_id for change in changes})
    return [_apply(connection, change, actor, mirrored) for change in changes]


def decide_batches(
    connection: sa.Connection, batch_ids: Sequence[int], action: Action, actor: str, mirrored: bool
) -> int:
    """Certify or exclude all that still waits of some batches: of all of them or, after an error, of none.

    Args:
        actor: who decides, for the record.
        mirrored: whether a mirror image is a copy.
    Returns: how many items.
    Raises: UnknownBatchError.
    """
    lock_membership(connection, "pool")  # before looking: another admin may be deciding the same images
    for batch_id in batch_ids:
        load_batch(connection, batch_id)
    changes = [Change(action, item_id) for item_id in find_waiting(connection, batch_ids)]
    return len(apply_changes(connection, changes, actor, mirrored))


def _demand_known(connection: sa.Connection, item_ids: set[str]) -> None:
    known = set(connection.scalars(sa.select(items.c.id).where(items.c.id.in_(item_ids))))
    if unknown := sorted(item_ids - known):
        raise UnknownImageError(f"Expected hashes of known images, got {', '.join(unknown)}. Nothing was changed.")


def _apply(connection: sa.Connection, change: Change, actor: str, mirrored: bool) -> Changed:
    before = _read(connection, change.item_id)
    if change.action == "exclude":
        exclude(connection, change.item_id, actor)
    else:
        confirm(connection, change.item_id, _annotation(change, before), actor, mirrored, is_readmitted=True)
    changed = Changed(change, before, _read(connection, change.item_id))
    if changed.is_changed:
        detail = {"image_sha256": change.item_id, "before": before.shown(), "after": changed.after.shown()}
        write_event(connection, f"data.{change.action}", actor, detail)
    return changed


def _annotation(change: Change, before: ItemState) -> Annotation:
    annotation = before.annotation if change.action == "certify" else change.annotation
    if annotation is None:
        raise ImageChangeError(
            f"Expected an image with a label to certify, got {change.item_id}, which has none. Relabel it instead. "
            "Nothing was changed."
        )
    return annotation


def _read(connection: sa.Connection, item_id: str) -> ItemState:
    state = read_states(connection, [item_id])[item_id]
    return ItemState(state.annotation, state.label_origin, state.split, state.held_back)
