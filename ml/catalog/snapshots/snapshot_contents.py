"""Snapshots for display: list them, summarise one, load its items, and compare two."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ml.catalog.annotations import Annotation, read_annotation
from ml.catalog.tables import images, items, model_versions, snapshot_items, snapshots
from ml.errors import SnapshotError


@dataclass(frozen=True)
class SnapshotSummary:
    """A stored snapshot without its items.

    Args:
        cutoff: time when it was created.
        selection: how its items were chosen: the text of an ml.data.selection.Selection.
        requested_size: requested number of items; the number found if the selection has no size.
        train, validation: number of items in each fold.
        model_versions: versions that were trained on it.
    """

    id: int
    cutoff: datetime
    selection: str
    requested_size: int
    classes: list[str]
    train: int
    validation: int
    model_versions: list[int]


@dataclass(frozen=True)
class Member:
    """An item of a snapshot. Annotation, label origin and fold are the snapshot's; the rest is the item's present data.

    Args: image_sha256, text_sha256, media_type, of its parts; None if it lacks the part.
    """

    item_id: str
    annotation: Annotation
    label_origin: str
    fold: str
    group_key: str
    source: str
    received_at: datetime
    image_sha256: str | None
    text_sha256: str | None
    media_type: str | None

    @property
    def is_erased(self) -> bool:
        """Whether the photo was erased, so that nothing of the item is left."""
        return self.image_sha256 is None and self.text_sha256 is None


@dataclass(frozen=True)
class SnapshotDiff:
    """The changes from one snapshot to another.

    Args:
        added, removed: items that only the second or only the first snapshot has, ordered by class names and id.
        relabelled: items in both with different annotations, as (before, after).
    """

    added: list[Member]
    removed: list[Member]
    relabelled: list[tuple[Member, Member]]


def list_snapshots(connection: sa.Connection) -> list[SnapshotSummary]:
    """Return all snapshots, newest first."""
    return [_summary(row) for row in connection.execute(_SUMMARIES.order_by(snapshots.c.id.desc()))]


def summarise_snapshot(connection: sa.Connection, snapshot_id: int) -> SnapshotSummary:
    """Return one snapshot.

    Raises: SnapshotError, no snapshot has this id.
    """
    row = connection.execute(_SUMMARIES.where(snapshots.c.id == snapshot_id)).one_or_none()
    if row is None:
        raise SnapshotError(f"Expected the id of a stored snapshot, got {snapshot_id}. See `mycoflow snapshot list`.")
    return _summary(row)


def load_members(connection: sa.Connection, snapshot_id: int) -> list[Member]:
    """Return the items of a snapshot, ordered by class names and id."""
    query = (
        sa.select(*_MEMBER)
        .join_from(snapshot_items, items)
        .outerjoin(images)
        .where(snapshot_items.c.snapshot_id == snapshot_id)
        .order_by(snapshot_items.c.class_names, items.c.id)
    )
    return [
        Member(item_id, read_annotation(class_names, detail), *rest)
        for item_id, class_names, detail, *rest in connection.execute(query)
    ]


def compare_members(first: Sequence[Member], second: Sequence[Member]) -> SnapshotDiff:
    """Return the changes between the items of two snapshots, which `load_members` returned."""
    before = {member.item_id: member for member in first}
    after = {member.item_id: member for member in second}
    kept = [(before[item_id], member) for item_id, member in after.items() if item_id in before]
    return SnapshotDiff(
        added=[member for member in second if member.item_id not in before],
        removed=[member for member in first if member.item_id not in after],
        relabelled=[(old, new) for old, new in kept if old.annotation != new.annotation],
    )


def _summary(row: sa.Row[tuple[object, ...]]) -> SnapshotSummary:
    return SnapshotSummary(**row._mapping)


def _fold_count(fold: str) -> sa.ScalarSelect[int]:
    return (
        sa.select(sa.func.count())
        .where(snapshot_items.c.snapshot_id == snapshots.c.id, snapshot_items.c.fold == fold)
        .scalar_subquery()
    )


_VERSIONS = (
    sa.select(sa.func.coalesce(sa.func.array_agg(sa.distinct(model_versions.c.version)), sa.text("'{}'::integer[]")))
    .where(model_versions.c.snapshot_id == snapshots.c.id)
    .scalar_subquery()
)
_SUMMARIES = sa.select(
    snapshots.c.id,
    snapshots.c.cutoff,
    snapshots.c.strategy.label("selection"),
    snapshots.c.requested_size,
    snapshots.c.classes,
    _fold_count("train").label("train"),
    _fold_count("validation").label("validation"),
    _VERSIONS.label("model_versions"),
)
_MEMBER = [
    items.c.id,
    *(snapshot_items.c[name] for name in ("class_names", "annotation", "label_origin", "fold")),
    *(items.c[name] for name in ("group_key", "source", "received_at", "image_sha256", "text_sha256")),
    images.c.media_type,
]
