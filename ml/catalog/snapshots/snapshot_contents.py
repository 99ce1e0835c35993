"""What is in a snapshot, for people: the list of snapshots, one of them, and what changed between two."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ml.catalog.tables import images, model_versions, snapshot_images, snapshots
from ml.errors import SnapshotError


@dataclass(frozen=True)
class SnapshotSummary:
    """A stored snapshot without its images.

    Args:
        cutoff: when it was pinned.
        selection: how its images were chosen, as ml.data.selection writes it.
        requested_size: images asked for; where the selection has no size, those that it found.
        train, validation: images in each fold.
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
    """An image of a snapshot. Label, origin and fold are those of then; the rest is what is known of the image now."""

    sha256: str
    label: str
    label_origin: str
    fold: str
    group_key: str
    source: str
    media_type: str
    received_at: datetime


@dataclass(frozen=True)
class SnapshotDiff:
    """What changed from one snapshot to another.

    Args:
        added, removed: images that only the second or only the first has, ordered by label and hash.
        relabelled: images in both under two labels, as (before, after).
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
    """The images of a snapshot, ordered by label and hash."""
    query = (
        sa.select(*_MEMBER)
        .join_from(snapshot_images, images)
        .where(snapshot_images.c.snapshot_id == snapshot_id)
        .order_by(snapshot_images.c.label, images.c.sha256)
    )
    return [Member(*row) for row in connection.execute(query)]


def compare_members(first: Sequence[Member], second: Sequence[Member]) -> SnapshotDiff:
    """Tell what changed from the images of one snapshot to those of another, each as `load_members` gives them."""
    before = {member.sha256: member for member in first}
    after = {member.sha256: member for member in second}
    kept = [(before[sha256], member) for sha256, member in after.items() if sha256 in before]
    return SnapshotDiff(
        added=[member for member in second if member.sha256 not in before],
        removed=[member for member in first if member.sha256 not in after],
        relabelled=[(old, new) for old, new in kept if old.label != new.label],
    )


def _summary(row: sa.Row[tuple[object, ...]]) -> SnapshotSummary:
    return SnapshotSummary(**row._mapping)


def _fold_count(fold: str) -> sa.ScalarSelect[int]:
    return (
        sa.select(sa.func.count())
        .where(snapshot_images.c.snapshot_id == snapshots.c.id, snapshot_images.c.fold == fold)
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
    images.c.sha256,
    *(snapshot_images.c[name] for name in ("label", "label_origin", "fold")),
    *(images.c[name] for name in ("group_key", "source", "media_type", "received_at")),
]
