"""Create snapshots: immutable, stored lists of (item, annotation, fold), which record each model's training data."""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from ml.catalog import locks
from ml.catalog.images.label_origins import NewImages
from ml.catalog.snapshots.stored_snapshots import SnapshotItem
from ml.catalog.tables import snapshot_items, snapshots
from ml.data import pool
from ml.data.class_sampling import count_items_by_class
from ml.data.new_classes import admit_new_classes, large_classes
from ml.data.selection import SnapshotRules, fold_of, select_harvested, select_items, select_labelled
from ml.errors import SnapshotError
from ml.settings import Settings

logger = logging.getLogger(__name__)


def nightly_rules(settings: Settings) -> SnapshotRules:
    """Return the rules of the nightly snapshot."""
    return SnapshotRules(settings.snapshot_size, settings.validation_ratio, settings.harvest_share)


def create_snapshot(connection: sa.Connection, rules: SnapshotRules, champion_classes: Sequence[str] | None) -> int:
    """Create a snapshot of the pool, and block writes to the pool meanwhile.

    Args:
        rules: selection, size and shares.
        champion_classes: classes that the snapshot must have; None before the first model, when all classes count.
    Returns: the snapshot's id.
    Raises: SnapshotError, there are fewer than two classes, a class has no items in one of the folds, the selection has
        no items, or the size is smaller than the number of classes.
    """
    cutoff = locks.lock_pool_for_snapshot(connection)
    classes = _classes(connection, rules, champion_classes)
    rows = _assign_folds(connection, rules, classes)
    learned = _demand_both_folds(rows, classes, champion_classes)
    if learned != classes:
        rows = _assign_folds(connection, rules, learned)
    snapshot_id: int = connection.execute(
        sa.insert(snapshots)
        .values(
            cutoff=cutoff,
            requested_size=rules.size if rules.selection.has_size else len(rows),
            strategy=str(rules.selection),
            classes=learned,
            pool_state=pool.pool_state(connection),
        )
        .returning(snapshots.c.id)
    ).scalar_one()
    connection.execute(
        sa.insert(snapshot_items),
        [
            {
                "snapshot_id": snapshot_id,
                "item_id": row.item_id,
                **row.annotation.columns(),
                "label_origin": row.label_origin,
                "fold": row.fold,
            }
            for row in rows
        ],
    )
    return snapshot_id


def count_new_images(
    connection: sa.Connection, since: datetime, rules: SnapshotRules, classes: Collection[str]
) -> NewImages:
    """Count the items that entered the pool after a moment, such as a snapshot's cutoff, and that a snapshot can use.

    A human-labelled item counts if all its classes are the champion's or have enough items to become classes. A
    harvested item counts if a snapshot created now would take it.

    Args: classes, of the champion.
    """
    labelled = pool.count_labelled_since(connection, since)
    usable = {*classes, *large_classes(connection, pool.count_each_class(labelled).keys() - classes)}
    human = sum(count for class_names, count in labelled.items() if usable.issuperset(class_names))
    if not pool.is_harvested_since(connection, since):
        return NewImages(human, 0)
    classes = sorted(classes)
    taken = select_harvested(connection, rules, classes, select_labelled(connection, rules, classes))
    return NewImages(human, sum(item.entered_pool_at > since for item in taken))


def _classes(connection: sa.Connection, rules: SnapshotRules, champion_classes: Sequence[str] | None) -> list[str]:
    if champion_classes is not None:
        classes = sorted({*champion_classes, *admit_new_classes(connection, champion_classes, rules.validation_ratio)})
    elif rules.selection.mode == "balanced":
        classes = list(pool.count_by_class(connection))
    else:
        size = rules.size if rules.selection.has_size else None
        found = pool.newest_labelled(connection, size, since=rules.selection.since)
        classes = sorted(count_items_by_class(item.annotation for item in found))
    if len(classes) < 2:
        raise SnapshotError(
            "Expected images of at least two classes in the pool, "
            f"found {len(classes)} ({', '.join(classes) or 'none'}) for the selection {rules.selection}. "
            "Ingest more with `mycoflow ingest DIR --split pool`."
        )
    return classes


def _assign_folds(connection: sa.Connection, rules: SnapshotRules, classes: Sequence[str]) -> list[SnapshotItem]:
    return [
        SnapshotItem(
            item.item_id,
            item.image_sha256,
            item.text_sha256,
            item.annotation,
            item.label_origin,
            fold_of(item.group_key, rules.validation_ratio),
        )
        for item in select_items(connection, rules, classes)
    ]


def _demand_both_folds(
    rows: Iterable[SnapshotItem], classes: Sequence[str], champion_classes: Collection[str] | None
) -> list[str]:
    """Return the classes with items in both folds. A new class without them waits; for another class it is an error."""
    counts = Counter((name, row.fold) for row in rows for name in set(row.annotation.class_names))
    short = [label for label in classes if not counts[label, "train"] or not counts[label, "validation"]]
    waiting = [label for label in short if champion_classes is not None and label not in champion_classes]
    missed = [
        f"{label} ({counts[label, 'train']} train, {counts[label, 'validation']} validation)"
        for label in short
        if label not in waiting
    ]
    if missed:
        raise SnapshotError(
            f"Expected images of each class in both folds, got too few of: {', '.join(missed)}. "
            "Ingest more images of these classes (about 20 or more each), or take the classes out of the pool."
        )
    for label in waiting:
        logger.warning("The label %s waits: its images in this snapshot are all of one fold.", label)
    return [label for label in classes if label not in waiting]
