"""What is in a snapshot, for people: the list of snapshots, one of them, and what changed between two."""

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
        cutoff: when it was pinned.
        selection: how its items were chosen, as ml.data.selection writes it.
        requested_size: items asked for; where the selection has no size, those that it found.
        train, validation: items in each fold.
        model_versions: that learned from it.
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
    """An item of a snapshot. Annotation, origin and fold are those of then; the rest is what is known of the item now.

    Args: image_sha256, text_sha256, media_type, of its parts; None where it has none.
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


@dataclass(frozen=True)
class SnapshotDiff:
    """What changed from one snapshot to another.

    Args:
        added, removed: items that only the second or only the first has, ordered by class names and id.
        relabelled: items in both under two annotations, as (before, after).
    """

    added: list[Member]
    removed: list[Member]
    relabelled: list[tuple[Member, Member]]


def list_snapshots(connection: sa.Connection) -> list[SnapshotSummary]:
    """All snapshots, the newest first."""
    return [_summary(row) for row in connection.execute(_SUMMARIES.order_by(snapshots.c.id.desc()))]


def summarise_snapshot(connection: sa.Connection, snapshot_id: int) -> SnapshotSummary:
    """One snapshot.

    Raises: SnapshotError, there is none with that id.
    """
    row = connection.execute(_SUMMARIES.where(snapshots.c.id == snapshot_id)).one_or_none()
    if row is None:
        raise SnapshotError(f"Expected the id of a stored snapshot, got {snapshot_id}. See `mycoflow snapshot list`.")
    return _summary(row)


def load_members(connection: sa.Connection, snapshot_id: int) -> list[Member]:
    """The items of a snapshot, ordered by class names and id."""
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
    """Tell what changed from the items of one snapshot to those of another, each as `load_members` gives them."""
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
