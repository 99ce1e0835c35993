"""Snapshots: immutable, stored lists of (image, label, fold). What a model learned from can always be told."""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import sqlalchemy as sa

from ml.catalog import locks
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.snapshots.stored_snapshots import SnapshotImage
from ml.catalog.tables import snapshot_images, snapshots
from ml.data import pool
from ml.data.folds import fold_of
from ml.data.new_classes import admit_new_classes
from ml.data.pool import PoolImage
from ml.data.selection import NEWEST, Selection, select_images
from ml.errors import SnapshotError

# A class of the model is topped up when it has less than this share of an even share of the snapshot.
STARVED_BELOW = 0.25

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SnapshotRules:
    """How a snapshot is made. Ratios are shares between 0 and 1; `size` is for the selections that have one."""

    size: int
    validation_ratio: float
    harvest_share: float
    selection: Selection = NEWEST


def create_snapshot(connection: sa.Connection, rules: SnapshotRules, champion_classes: Sequence[str] | None) -> int:
    """Pin images of the pool, with pool writes kept out.

    Args:
        rules: which ones, sizes and shares.
        champion_classes: the classes that must stay; None before the first model, when every label counts.
    Returns: the snapshot's id.
    Raises: SnapshotError, fewer than two classes, a class that misses a fold, nothing since the date, or a size for
        fewer images than classes.
    """
    cutoff = locks.hold_pool_for_snapshot(connection)
    classes = _classes(connection, rules, champion_classes)
    found = [image for image in _select(connection, rules, classes) if image.label in classes]
    size = rules.size if rules.selection.has_size else len(found)
    chosen = _cap_harvested(_top_up(connection, found, classes, size), rules.harvest_share)
    rows = _assign_folds(chosen, rules.validation_ratio)
    classes = _demand_both_folds(rows, classes, champion_classes)
    rows = [row for row in rows if row.label in classes]
    snapshot_id: int = connection.execute(
        sa.insert(snapshots)
        .values(
            cutoff=cutoff,
            requested_size=size,
            strategy=str(rules.selection),
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


def _classes(connection: sa.Connection, rules: SnapshotRules, champion_classes: Sequence[str] | None) -> list[str]:
    if champion_classes is not None:
        classes = sorted({*champion_classes, *admit_new_classes(connection, champion_classes, rules.validation_ratio)})
    elif rules.selection.mode == "balanced":
        classes = list(pool.count_by_label(connection))
    else:
        classes = sorted({image.label for image in select_images(connection, rules.selection, rules.size, [])})
    if len(classes) < 2:
        raise SnapshotError(
            "Expected images of at least two classes in the pool, "
            f"found {len(classes)} ({', '.join(classes) or 'none'}) for the selection {rules.selection}. "
            "Ingest more with `mycoflow ingest DIR --split pool`."
        )
    return classes


def _select(connection: sa.Connection, rules: SnapshotRules, classes: Sequence[str]) -> list[PoolImage]:
    found = select_images(connection, rules.selection, rules.size, classes)
    if not found:
        remedy = "Take an earlier date, or ingest" if rules.selection.since else "Ingest"
        raise SnapshotError(
            f"Expected images in the pool for the selection {rules.selection}, found none. "
            f"{remedy} more with `mycoflow ingest DIR --split pool`."
        )
    return found


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


def _demand_both_folds(
    rows: Iterable[SnapshotImage], classes: Sequence[str], champion_classes: Collection[str] | None
) -> list[str]:
    """The classes that have images in both folds. A new one that has not waits; any other is an error."""
    counts = Counter((row.label, row.fold) for row in rows)
    short = [label for label in classes if not counts[label, "train"] or not counts[label, "validation"]]
    waiting = [label for label in short if champion_classes is not None and label not in champion_classes]
    missed = [
        f"{label} ({counts[label, 'train']} train, {counts[label, 'validation']} validation)"
        for label in short
        if label not in waiting
    ]
    if missed:
        raise SnapshotError(
            f"Expected images of each class in both folds, but too few came for: {', '.join(missed)}. "
            "Ingest more images of these classes (about 20 or more each), or take the classes out of the pool."
        )
    for label in waiting:
        logger.warning("The label %s waits: its images in this snapshot are all of one fold.", label)
    return [label for label in classes if label not in waiting]
