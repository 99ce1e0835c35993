"""Count and delete rows that the retention settings allow to delete.

Items of a snapshot, of an evaluation set or with feedback stay, and so do annotated items. Counting and deleting use
the same conditions, so that a dry run counts exactly what a purge deletes.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.items.item_records import is_only_predicted
from ml.catalog.locks import UPKEEP, lock_membership
from ml.catalog.logs.prediction_batches import ARRIVING
from ml.catalog.tables import (
    attempts,
    backbones,
    events,
    features,
    feedback,
    images,
    items,
    metadata,
    photo_vectors,
    prediction_batches,
    predictions,
    results,
    review_entries,
    shadow_answers,
    texts,
)
from ml.deadlines import Deadline
from ml.errors import CatalogError

ITEMS_AT_ONCE = 500
# A backbone that a running training has built has no model version yet.
TRAINING_DAYS = 1
# Longer than an erasure needs to ask whether an upkeep is running, for which it shares the lock.
_LOCK_SECONDS = 2.0
# Tables whose rows are deleted with the item. A reference from any other table keeps the item.
_GOES_WITH_THE_ITEM = {
    results,
    items,
    review_entries,
    shadow_answers,
}  # `items`: a copy outlives its original, and a version its former one


@dataclass(frozen=True)
class Amount:
    """A number of rows or files, and their size in bytes, 0 if unknown."""

    count: int
    byte_count: int = 0


@contextmanager
def lock_upkeep(catalog: Catalog) -> Iterator[None]:
    """Block all other purges and backups during the block.

    Raises: CatalogError, a purge or a backup is running.
    """
    with catalog.try_lock(UPKEEP, Deadline(_LOCK_SECONDS)) as is_ours:
        if not is_ours:
            raise CatalogError("Expected to be the only purge or backup. Another one is running: wait for its end.")
        yield


@dataclass(frozen=True)
class Forgotten:
    """The deleted items. image_bytes: hash of each image that was deleted with them -> size in bytes."""

    count: int
    image_bytes: dict[str, int]


def forgettable_items(connection: sa.Connection, days: int) -> Amount:
    """Count the items that were only predicted, not within some days, and without feedback, and their image bytes."""
    going = sa.select(items.c.id, items.c.image_sha256).where(_is_forgettable(days)).cte("going")
    stays = sa.exists().where(items.c.image_sha256 == images.c.sha256, items.c.id.not_in(sa.select(going.c.id)))
    freed = sa.select(sa.func.coalesce(sa.func.sum(images.c.byte_count), 0)).where(
        images.c.sha256.in_(sa.select(going.c.image_sha256)), ~stays
    )
    count = sa.select(sa.func.count()).select_from(going)
    return Amount(*connection.execute(sa.select(count.scalar_subquery(), freed.scalar_subquery())).one())


def forget_items(connection: sa.Connection, days: int) -> Forgotten:
    """Delete some of these items with their predictions and results.

    Their photos and texts are deleted too, if no other item has them.

    Call this until it deletes nothing. Delete the objects of the images after the commit of this transaction.
    """
    lock_membership(connection, "pool")
    # Lock the rows, then check them again: now nobody can add a prediction, a result or an item with the same parts.
    candidates = list(
        connection.scalars(
            sa.select(items.c.id)
            .where(_is_forgettable(days))
            .order_by(items.c.id)
            .limit(ITEMS_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
    )
    of_candidates = results.c.item_id.in_(candidates)
    connection.execute(sa.select(results.c.id).where(of_candidates).order_by(results.c.id).with_for_update())
    still = items.c.id.in_(candidates) & _is_forgettable(days)
    going = connection.execute(sa.select(items.c.id, items.c.image_sha256, items.c.text_sha256).where(still)).all()
    ids = [row.id for row in going]
    of_items = sa.select(results.c.id).where(results.c.item_id.in_(ids))
    connection.execute(sa.delete(predictions).where(predictions.c.result_id.in_(of_items)))
    connection.execute(sa.delete(results).where(results.c.item_id.in_(ids)))
    connection.execute(sa.delete(items).where(items.c.id.in_(ids)))
    sizes = _forget_images(connection, [row.image_sha256 for row in going if row.image_sha256 is not None])
    _forget_texts(connection, [row.text_sha256 for row in going if row.text_sha256 is not None])
    return Forgotten(len(ids), sizes)


def _forget_images(connection: sa.Connection, sha256s: Collection[str]) -> dict[str, int]:
    """Delete those of some images that no item has, with their features, and return hash -> size in bytes."""
    unused = _lock_unused(connection, images.c.sha256, items.c.image_sha256, sha256s)
    deleted = sa.delete(images).where(images.c.sha256.in_(unused)).returning(images.c.sha256, images.c.byte_count)
    connection.execute(sa.delete(features).where(features.c.part_sha256.in_(unused)))
    return dict(connection.execute(deleted).tuples().all())


def _forget_texts(connection: sa.Connection, sha256s: Collection[str]) -> None:
    unused = _lock_unused(connection, texts.c.sha256, items.c.text_sha256, sha256s)
    connection.execute(sa.delete(features).where(features.c.part_sha256.in_(unused)))
    connection.execute(sa.delete(texts).where(texts.c.sha256.in_(unused)))


def _lock_unused(
    connection: sa.Connection, key: sa.Column[str], reference: sa.Column[str], sha256s: Collection[str]
) -> list[str]:
    """Lock some parts, so that no new item can use them, and return those that no item has."""
    connection.execute(sa.select(key).where(key.in_(sha256s)).order_by(key).with_for_update())
    return list(connection.scalars(sa.select(key).where(key.in_(sha256s), ~sa.exists().where(reference == key))))


def old_predictions(connection: sa.Connection, days: int) -> Amount:
    """Count the predictions without feedback that are older than some days."""
    return Amount(_count(connection, predictions, _is_old_prediction(days)))


def forget_predictions(connection: sa.Connection, days: int) -> Amount:
    """Delete these predictions."""
    return Amount(connection.execute(sa.delete(predictions).where(_is_old_prediction(days))).rowcount)


def old_events(connection: sa.Connection, days: int) -> Amount:
    """Count the events that are older than some days."""
    return Amount(_count(connection, events, _is_before(events.c.happened_at, days)))


def forget_events(connection: sa.Connection, days: int) -> Amount:
    """Delete these events."""
    return Amount(connection.execute(sa.delete(events).where(_is_before(events.c.happened_at, days))).rowcount)


def old_batches(connection: sa.Connection, days: int) -> list[int]:
    """Return the prediction batches that are older than some days, or whose ZIP never arrived in the store."""
    is_interrupted = ~prediction_batches.c.is_ready & (prediction_batches.c.created_at < sa.func.now() - ARRIVING)
    is_old = _is_before(prediction_batches.c.created_at, days)
    query = sa.select(prediction_batches.c.id).where(is_old | is_interrupted)
    return list(connection.scalars(query.order_by(prediction_batches.c.id)))


def is_training(connection: sa.Connection) -> bool:
    """Return whether a training may be running. `locks.lock_pool_for_snapshot` stops the next one from starting."""
    started_lately = ~_is_before(attempts.c.started_at, TRAINING_DAYS)
    query = sa.select(sa.exists().where(attempts.c.finished_at.is_(None), started_lately))
    found: bool = connection.execute(query).scalar_one()
    return found


def dead_features(connection: sa.Connection, live_backbone_ids: Collection[str]) -> Amount:
    """Count the features of all backbones except these, and of deleted parts (a process may store them too late)."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(sa.func.octet_length(features.c.vector)), 0))
    return Amount(*connection.execute(query.where(_is_dead(live_backbone_ids))).one())


def forget_features(connection: sa.Connection, live_backbone_ids: Collection[str]) -> None:
    """Delete these vectors, and the copies of them that similar photos are found with."""
    connection.execute(sa.delete(features).where(_is_dead(live_backbone_ids)))
    connection.execute(sa.delete(photo_vectors).where(photo_vectors.c.backbone_id.not_in(live_backbone_ids)))


def _is_dead(live_backbone_ids: Collection[str]) -> sa.ColumnElement[bool]:
    is_part = [sa.exists().where(key == features.c.part_sha256) for key in (images.c.sha256, texts.c.sha256)]
    return features.c.backbone_id.not_in(live_backbone_ids) | ~sa.or_(*is_part)


def dead_backbone_files(connection: sa.Connection, live_backbone_ids: Collection[str]) -> list[str]:
    """Return the hashes of the backbone files that none of these backbones use."""
    is_live = _is_live(live_backbone_ids)
    both = (backbones.c.onnx_sha256, backbones.c.fp32_sha256)
    live = sa.union(*(sa.select(column).where(is_live) for column in both)).subquery()
    dead = sa.union(*(sa.select(column.label("sha256")).where(~is_live) for column in both)).subquery()
    query = sa.select(dead.c.sha256).where(dead.c.sha256.not_in(sa.select(live.c[0]))).order_by(dead.c.sha256)
    return list(connection.scalars(query))


def forget_backbones(connection: sa.Connection, live_backbone_ids: Collection[str]) -> None:
    """Delete the rows of all backbones except these. Delete their files after the commit of this transaction."""
    connection.execute(sa.delete(backbones).where(~_is_live(live_backbone_ids)))


def _is_live(live_backbone_ids: Collection[str]) -> sa.ColumnElement[bool]:
    return backbones.c.onnx_sha256.in_([backbone_id.partition(":")[0] for backbone_id in live_backbone_ids])


def _is_forgettable(days: int) -> sa.ColumnElement[bool]:
    is_former = items.c.held_back.in_(("superseded", "erased"))
    was_predicted = is_former & items.c.split.is_(None) & items.c.class_names.is_(None)
    of_item = (results.c.item_id == items.c.id) & (predictions.c.result_id == results.c.id)
    has_feedback = sa.exists().where(of_item, feedback.c.prediction_id == predictions.c.id)
    asked_lately = sa.exists().where(of_item, ~_is_before(predictions.c.requested_at, days))
    kept_by = [sa.exists().where(column == items.c.id) for column in _keeping_columns()]
    is_old = _is_before(items.c.received_at, days)
    return sa.and_(
        is_only_predicted() | was_predicted, is_old, ~has_feedback, ~asked_lately, *(~kept for kept in kept_by)
    )


def _keeping_columns() -> list[sa.Column[str]]:
    """Return all columns that refer to an item and so keep it, including those of future tables."""
    return [
        column
        for table in metadata.sorted_tables
        if table not in _GOES_WITH_THE_ITEM
        for column in table.c
        if column.references(items.c.id)
    ]


def _is_old_prediction(days: int) -> sa.ColumnElement[bool]:
    has_feedback = sa.exists().where(feedback.c.prediction_id == predictions.c.id)
    return _is_before(predictions.c.requested_at, days) & ~has_feedback


def _is_before(column: sa.Column[object], days: int) -> sa.ColumnElement[bool]:
    return column < sa.func.now() - timedelta(days=days)


def _count(connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool]) -> int:
    found: int = connection.execute(sa.select(sa.func.count()).select_from(table).where(condition)).scalar_one()
    return found
