"""An admin's changes to annotations and splits: certify, relabel, exclude. Of a list, all are applied or none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import sqlalchemy as sa

from ml.catalog.annotations import Annotation, label_of
from ml.catalog.class_names import ClassSpellings
from ml.catalog.database import Catalog
from ml.catalog.images.batches import find_brought, find_waiting, load_batch
from ml.catalog.items.item_records import is_not_erased
from ml.catalog.locks import lock_membership
from ml.catalog.logs.events import write_event
from ml.catalog.tables import item_classes, items
from ml.data.copies.near_copies import prepare_search
from ml.data.feedback import list_spellings
from ml.data.membership import confirm, exclude, read_states
from ml.errors import ImageChangeError, UnknownImageError

Action = Literal["certify", "relabel", "exclude"]


@dataclass(frozen=True)
class Change:
    """A change to make to one item.

    Args:
        action: `certify` confirms the item's annotation, `relabel` replaces it, `exclude` removes the item from the
            pool and the evaluation set. `certify` and `relabel` also end an exclusion.
        annotation: the new annotation, only with `relabel`. A class keeps the spelling that other items have.
    """

    action: Action
    item_id: str
    annotation: Annotation | None = None


@dataclass(frozen=True)
class ItemState:
    """The part of an item's state that an admin may change."""

    annotation: Annotation | None
    label_origin: str | None
    split: str | None
    held_back: str | None

    def to_json(self) -> dict[str, str | None]:
        """Return the state as JSON for people, with the annotation as a label."""
        known = {name: value for name, value in vars(self).items() if name != "annotation"}
        return {"label": label_of(self.annotation), **known}


@dataclass(frozen=True)
class AppliedChange:
    """The result of one change. `before` and `after` are equal if there was nothing to change."""

    change: Change
    before: ItemState
    after: ItemState

    @property
    def is_changed(self) -> bool:
        return self.before != self.after


def change_images(catalog: Catalog, changes: Sequence[Change], actor: str, mirrored: bool) -> list[AppliedChange]:
    """Prepare the search for copies, which takes long, then apply changes in one transaction; see `apply_changes`.

    Raises: as `apply_changes`; ImageStoreError, the store cannot be read.
    """
    entering = list(dict.fromkeys(each.item_id for each in changes if each.action != "exclude"))
    prepare_search(catalog, entering, mirrored)
    with catalog.begin() as connection:
        return apply_changes(connection, changes, actor, mirrored)


def settle_batches(catalog: Catalog, batch_ids: Sequence[int], action: Action, actor: str, mirrored: bool) -> int:
    """Prepare the search for copies, which takes long, then decide in one transaction; see `decide_batches`.

    Raises: as `decide_batches`; ImageStoreError, the store cannot be read.
    """
    if action != "exclude":
        with catalog.begin() as connection:
            waiting = find_waiting(connection, batch_ids)
        prepare_search(catalog, waiting, mirrored)
    with catalog.begin() as connection:
        return decide_batches(connection, batch_ids, action, actor, mirrored)


def apply_changes(
    connection: sa.Connection, changes: Sequence[Change], actor: str, mirrored: bool
) -> list[AppliedChange]:
    """Apply changes in their order, each with an event in the audit log. After an error, roll the transaction back.

    Args:
        actor: `account:<id>`, or on the command line the name of the system's user.
        mirrored: whether a mirror image is a copy.
    Raises:
        UnknownImageError: some of the items do not exist.
        ImageChangeError: an item without an annotation cannot be certified.
    """
    lock_membership(connection, "pool")
    _demand_known(connection, {change.item_id for change in changes})
    return [_apply(connection, change, actor, mirrored) for change in _settle(connection, changes)]


def _settle(connection: sa.Connection, changes: Sequence[Change]) -> list[Change]:
    """Give new labels the spelling that is in use. Relabelling all items of a class at once may change its spelling."""
    relabelled = {change.item_id for change in changes if change.annotation is not None}
    if not relabelled:
        return list(changes)
    is_relabelled = item_classes.c.item_id.in_(relabelled)
    names = set(connection.scalars(sa.select(item_classes.c.class_name).where(is_relabelled)))
    of_others = sa.select(item_classes.c.class_name).where(item_classes.c.class_name.in_(names), ~is_relabelled)
    given_up = names.difference(connection.scalars(of_others.distinct()))
    spellings = ClassSpellings(name for name in list_spellings(connection) if name not in given_up)
    return [
        change if change.annotation is None else replace(change, annotation=change.annotation.settle(spellings))
        for change in changes
    ]


def decide_batches(
    connection: sa.Connection, batch_ids: Sequence[int], action: Action, actor: str, mirrored: bool
) -> int:
    """Certify the waiting items of some batches, or exclude all that they brought, also those that are certified.

    After an error, roll the transaction back.

    Args:
        actor: who decides, for the audit log.
        mirrored: whether a mirror image is a copy.
    Returns: number of certified or excluded items.
    Raises: UnknownBatchError, no batch has one of the ids.
    """
    lock_membership(connection, "pool")  # before reading, because another admin may decide on the same items
    for batch_id in batch_ids:
        load_batch(connection, batch_id)
    find = find_brought if action == "exclude" else find_waiting
    changes = [Change(action, item_id) for item_id in find(connection, batch_ids)]
    return len(apply_changes(connection, changes, actor, mirrored))


def _demand_known(connection: sa.Connection, item_ids: set[str]) -> None:
    known = set(connection.scalars(sa.select(items.c.id).where(items.c.id.in_(item_ids), is_not_erased())))
    if unknown := sorted(item_ids - known):
        raise UnknownImageError(f"Expected hashes of known images, got {', '.join(unknown)}. Nothing was changed.")


def _apply(connection: sa.Connection, change: Change, actor: str, mirrored: bool) -> AppliedChange:
    before = _read(connection, change.item_id)
    if change.action == "exclude":
        exclude(connection, change.item_id, actor)
    else:
        confirm(connection, change.item_id, _annotation(change, before), actor, mirrored, is_readmitted=True)
    changed = AppliedChange(change, before, _read(connection, change.item_id))
    if changed.is_changed:
        detail = {"image_sha256": change.item_id, "before": before.to_json(), "after": changed.after.to_json()}
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
