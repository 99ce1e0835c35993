"""Load stored snapshots: immutable lists of (item, annotation, fold)."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ml.catalog.annotations import Annotation, read_annotation
from ml.catalog.items.item_records import ItemParts, is_not_erased
from ml.catalog.tables import items, snapshot_items, snapshots
from ml.errors import SnapshotError


@dataclass(frozen=True)
class SnapshotItem(ItemParts):
    """One row of a snapshot; `fold` is train or validation, `group_key` the item's present group."""

    annotation: Annotation
    label_origin: str
    fold: str
    group_key: str


@dataclass(frozen=True)
class Snapshot:
    """A stored snapshot and its items, ordered by id."""

    id: int
    cutoff: datetime
    classes: tuple[str, ...]
    pool_state: str
    items: tuple[SnapshotItem, ...]


def load_snapshot(connection: sa.Connection, snapshot_id: int) -> Snapshot:
    """Load a stored snapshot with its items, without those whose photo was erased.

    Raises: SnapshotError, no snapshot has this id.
    """
    head = connection.execute(sa.select(snapshots).where(snapshots.c.id == snapshot_id)).one_or_none()
    if head is None:
        raise SnapshotError(f"Expected the id of a stored snapshot, got {snapshot_id}. See `mycoflow snapshot list`.")
    rows = connection.execute(
        sa.select(
            snapshot_items.c.item_id,
            items.c.image_sha256,
            items.c.text_sha256,
            snapshot_items.c.class_names,
            snapshot_items.c.annotation,
            snapshot_items.c.label_origin,
            snapshot_items.c.fold,
            items.c.group_key,
        )
        .join_from(snapshot_items, items)
        .where(snapshot_items.c.snapshot_id == snapshot_id, is_not_erased())
        .order_by(snapshot_items.c.item_id)
    )
    return Snapshot(
        id=head.id,
        cutoff=head.cutoff,
        classes=tuple(head.classes),
        pool_state=head.pool_state,
        items=tuple(
            SnapshotItem(item_id, image, text, read_annotation(class_names, detail), *rest)
            for item_id, image, text, class_names, detail, *rest in rows
        ),
    )
