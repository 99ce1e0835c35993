"""Snapshots as they are stored: immutable lists of (image, label, fold)."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ml.catalog.annotations import Annotation
from ml.catalog.tables import snapshot_images, snapshots
from ml.errors import SnapshotError


@dataclass(frozen=True)
class SnapshotImage:
    """One row of a snapshot; `fold` is train or validation."""

    sha256: str
    label: str
    label_origin: str
    fold: str

    @property
    def annotation(self) -> Annotation:
        """What it is said to show."""
        return Annotation((self.label,))


@dataclass(frozen=True)
class Snapshot:
    """A stored snapshot and its images, ordered by hash."""

    id: int
    cutoff: datetime
    classes: tuple[str, ...]
    pool_state: str
    images: tuple[SnapshotImage, ...]


def load_snapshot(connection: sa.Connection, snapshot_id: int) -> Snapshot:
    """Read a stored snapshot.

    Raises: SnapshotError, there is none with that id.
    """
    head = connection.execute(sa.select(snapshots).where(snapshots.c.id == snapshot_id)).one_or_none()
    if head is None:
        raise SnapshotError(f"Expected the id of a stored snapshot, got {snapshot_id}.")
    rows = connection.execute(
        sa.select(
            snapshot_images.c.image_sha256,
            snapshot_images.c.label,
            snapshot_images.c.label_origin,
            snapshot_images.c.fold,
        )
        .where(snapshot_images.c.snapshot_id == snapshot_id)
        .order_by(snapshot_images.c.image_sha256)
    )
    return Snapshot(
        id=head.id,
        cutoff=head.cutoff,
        classes=tuple(head.classes),
        pool_state=head.pool_state,
        images=tuple(SnapshotImage(*row) for row in rows),
    )
