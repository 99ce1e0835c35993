"""Snapshots: immutable, stored lists of (image, label, fold). What a model learned from can always be told."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

import sqlalchemy as sa

from ml.catalog import pool
from ml.catalog.pool import HUMAN_ORIGINS, PoolImage
from ml.catalog.tables import images, snapshot_images, snapshots
from ml.errors import SnapshotError

# A class of the model is topped up when it has less than this share of an even share of the snapshot.
STARVED_BELOW = 0.25
# A label that the champion does not know joins once it has so many human-labelled images.
NEW_CLASS_POOL_IMAGES = 50
NEW_CLASS_EVALUATION_IMAGES = 10


@dataclass(frozen=True)
class SnapshotRules:
    """How a snapshot is made. Ratios are shares between 0 and 1."""

    size: int
    validation_ratio: float
    harvest_share: float


@dataclass(frozen=True)
class SnapshotImage:
    """One row of a snapshot; `fold` is train or validation."""

    sha256: str
    label: str
    label_origin: str
    fold: str


@dataclass(frozen=True)
class Snapshot:
    """A stored snapshot and its images, ordered by hash."""

    id: int
    cutoff: datetime
    classes: tuple[str, ...]
    pool_state: str
    images: tuple[SnapshotImage, ...]


def create_snapshot(connection: sa.Connection, rules: SnapshotRules, champion_classes: Sequence[str] | None) -> int:
    """Pin the newest images of the pool, with pool writes kept out.

    Args:
        rules: sizes and shares.
        champion_classes: the classes that must stay; None before the first model, when every label counts.
    Returns: the snapshot's id.
    Raises: SnapshotError, fewer than two classes, or a class that misses a fold.
    """
    cutoff = pool.hold_for_snapshot(connection)
    newest = pool.newest_images(connection, rules.size)
    classes = _classes(connection, newest, champion_classes)
    chosen = [image for image in newest if image.label in classes]
    chosen = _top_up(connection, chosen, classes, rules.size)
    chosen = _cap_harvested(chosen, rules.harvest_share)
    rows = _assign_folds(chosen, rules.validation_ratio)
    _demand_both_folds(rows, classes)
    snapshot_id: int = connection.execute(
        sa.insert(snapshots)
        .values(
            cutoff=cutoff,
            requested_size=rules.size,
            strategy="newest",
            classes=classes,
            pool_state=pool.pool_state(connection),
        )
        .returning(snapshots.c.id)
    ).scalar_one()
    connection.execute(
        sa.insert(snapshot_images),
        [
            {
                "snapshot_id": snapshot_id,
                "image_sha256": row.sha256,
                "label": row.label,
                "label_origin": row.label_origin,
                "fold": row.fold,
            }
            for row in rows
        ],
    )
    return snapshot_id


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


def fold_of(group_key: str, validation_ratio: float) -> str:
    """The fold of a group: a function of its hash alone, so that no image ever changes sides.

    A group never divides, and an image's neighbours or the day do not matter.
    """
    digest = hashlib.sha256(group_key.encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return "validation" if position < validation_ratio else "train"


def _classes(
    connection: sa.Connection, newest: Iterable[PoolImage], champion_classes: Sequence[str] | None
) -> list[str]:
    if champion_classes is None:
        classes = sorted({image.label for image in newest})
    else:
        classes = sorted({*champion_classes, *_qualified_labels(connection)})
    if len(classes) < 2:
        raise SnapshotError(
            "Expected images of at least two classes in the pool, "
            f"found {len(classes)} ({', '.join(classes) or 'none'}). "
            "Ingest more with `mycoflow ingest DIR --split pool`."
        )
    return classes


def _qualified_labels(connection: sa.Connection) -> set[str]:
    is_evaluated = (images.c.split == "evaluation") & images.c.held_back.is_(None)
    query = sa.select(images.c.label, sa.func.count()).where(is_evaluated).group_by(images.c.label)
    evaluation_counts: dict[str, int] = dict(connection.execute(query).tuples().all())
    return {
        label
        for label, count in pool.count_by_label(connection).items()
        if count >= NEW_CLASS_POOL_IMAGES and evaluation_counts.get(label, 0) >= NEW_CLASS_EVALUATION_IMAGES
    }


def _top_up(connection: sa.Connection, chosen: list[PoolImage], classes: list[str], size: int) -> list[PoolImage]:
    fewest = max(2, round(STARVED_BELOW * size / len(classes)))
    counts = Counter(image.label for image in chosen)
    known = {image.sha256 for image in chosen}
    extra = [
        image
        for label in classes
        if counts[label] < fewest
        for image in pool.newest_images(connection, fewest, label)
        if image.sha256 not in known
    ]
    return chosen + extra


def _cap_harvested(chosen: Iterable[PoolImage], harvest_share: float) -> list[PoolImage]:
    """Drop the oldest harvested images of a class past their share of it; input and output are newest first."""
    by_label: dict[str, list[PoolImage]] = defaultdict(list)
    for image in chosen:
        by_label[image.label].append(image)
    return list(chain.from_iterable(_cap_class(members, harvest_share) for members in by_label.values()))


def _cap_class(members: list[PoolImage], harvest_share: float) -> list[PoolImage]:
    human = [image for image in members if image.label_origin in HUMAN_ORIGINS]
    harvested = [image for image in members if image.label_origin not in HUMAN_ORIGINS]
    # h / (h + human) <= share; the nudge keeps an exact ratio from being lost to floating point.
    most = int(len(human) * harvest_share / (1 - harvest_share) + 1e-9)
    return human + harvested[:most]


def _assign_folds(chosen: Iterable[PoolImage], validation_ratio: float) -> list[SnapshotImage]:
    rows = []
    for image in chosen:
        fold = fold_of(image.group_key, validation_ratio)
        # A validation fold holds human labels only, and a group is never divided: such an image stays out.
        if fold == "train" or image.label_origin in HUMAN_ORIGINS:
            rows.append(SnapshotImage(image.sha256, image.label, image.label_origin, fold))
    return rows


def _demand_both_folds(rows: Iterable[SnapshotImage], classes: Iterable[str]) -> None:
    counts = Counter((row.label, row.fold) for row in rows)
    short = [
        f"{label} ({counts[label, 'train']} train, {counts[label, 'validation']} validation)"
        for label in classes
        if not counts[label, "train"] or not counts[label, "validation"]
    ]
    if short:
        raise SnapshotError(
            f"Expected images of each class in both folds, but too few came for: {', '.join(short)}. "
            "Ingest more images of these classes (about 20 or more each), or take the classes out of the pool."
        )
