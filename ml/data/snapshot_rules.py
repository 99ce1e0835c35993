"""Create snapshots: immutable, stored lists of (item, annotation, fold), which record each model's training data."""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa

from ml.catalog import locks
from ml.catalog.images.label_origins import HUMAN_ORIGINS, NewImages
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.catalog.tables import snapshot_items, snapshots
from ml.data import pool
from ml.data.class_sampling import count_items_by_class
from ml.data.folds import divide_groups
from ml.data.new_classes import admit_new_classes, large_classes
from ml.data.selection import SelectedItems, SnapshotRules, select_harvested, select_items, select_labelled
from ml.errors import SnapshotError
from ml.settings import Settings

_CAUSES_SHOWN = 10

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
    Raises: SnapshotError, there are fewer than two classes, all items of a class are in one group, the selection has no
        items, or the size is smaller than the number of classes.
    """
    cutoff = locks.lock_pool_for_snapshot(connection)
    classes = _classes(connection, rules, champion_classes)
    selected = select_items(connection, rules, classes)
    learned = _demand_both_folds(selected, classes, champion_classes)
    if learned != classes:
        selected = select_items(connection, rules, learned)
    snapshot_id: int = connection.execute(
        sa.insert(snapshots)
        .values(
            cutoff=cutoff,
            requested_size=rules.size_for(len(learned)) or len(selected.items),
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
                "item_id": item.item_id,
                **item.annotation.columns(),
                "label_origin": item.label_origin,
                "fold": selected.fold_of(item),
            }
            for item in selected.items
        ],
    )
    return snapshot_id


def preview_snapshot(
    connection: sa.Connection, rules: SnapshotRules, champion_classes: Sequence[str] | None
) -> Snapshot:
    """Return the snapshot that `create_snapshot` would create now, and store nothing. Its id is of no snapshot.

    Args, Raises: as `create_snapshot`.
    """
    with connection.begin_nested() as savepoint:  # it also holds out images of new classes
        snapshot = load_snapshot(connection, create_snapshot(connection, rules, champion_classes))
        savepoint.rollback()
    return snapshot


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
    chosen = select_labelled(connection, rules, classes)
    folds = divide_groups(connection, chosen, rules.validation_ratio)
    taken = select_harvested(connection, rules, classes, chosen, folds)
    return NewImages(human, sum(item.entered_pool_at > since for item in taken))


def _classes(connection: sa.Connection, rules: SnapshotRules, champion_classes: Sequence[str] | None) -> list[str]:
    if champion_classes is not None:
        classes = sorted({*champion_classes, *admit_new_classes(connection, champion_classes)})
    elif rules.selection.mode == "balanced":
        classes = list(pool.count_by_class(connection))
    else:
        size = rules.size_for(len(pool.count_by_class(connection)))
        found = pool.newest_labelled(connection, size, since=rules.selection.since)
        classes = sorted(count_items_by_class(item.annotation for item in found))
    if len(classes) < 2:
        raise SnapshotError(
            "Expected images of at least two classes in the pool, "
            f"found {len(classes)} ({', '.join(map(repr, classes)) or 'none'}) for the selection {rules.selection}. "
            "Ingest more with `mycoflow ingest DIR --split pool`."
        )
    return classes


def _demand_both_folds(
    selected: SelectedItems, classes: Sequence[str], champion_classes: Collection[str] | None
) -> list[str]:
    """Return the classes with items in both folds. A new class without them waits; for another class it is an error."""
    folds: dict[str, set[str]] = {name: set() for name in classes}
    for item in selected.items:
        for name in item.annotation.class_names:
            folds[name].add(selected.fold_of(item))
    short = [name for name in classes if len(folds[name]) < 2]
    causes = {name: _why_one_fold(selected, name) for name in short}
    waiting = [name for name in short if champion_classes is not None and name not in champion_classes]
    missed = [causes[name] for name in short if name not in waiting]
    if missed:
        more = f"; and {len(missed) - _CAUSES_SHOWN} classes more" if len(missed) > _CAUSES_SHOWN else ""
        raise SnapshotError(
            "Expected images of each class in both folds, training and validation. A group of images that belong "
            "together, such as one observation, is never divided, so a class needs two groups or more. Received: "
            f"{'; '.join(missed[:_CAUSES_SHOWN])}{more}. "
            "Ingest images of another group for each of these classes, or take the classes out of the pool."
        )
    for name in waiting:
        logger.warning("The label %r waits for images of another group: %s.", name, causes[name])
    return [name for name in classes if name not in waiting]


def _why_one_fold(selected: SelectedItems, name: str) -> str:
    """Say why a class has items in one fold only, in words that follow "Received:"."""
    shown = [item for item in selected.items if name in item.annotation.class_names]
    labelled = [item for item in shown if item.label_origin in HUMAN_ORIGINS]
    groups = sorted({item.group_key for item in labelled})
    if len(labelled) < 2:
        return f"{name!r} has {len(labelled) or 'no'} image that a person labelled"
    if len(groups) == 1:
        return f"all {len(labelled)} images of {name!r} are in the group {groups[0]!r}"
    return f"the {len(groups)} groups of {name!r} hold images of other classes too, which need them in the same fold"
