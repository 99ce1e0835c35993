"""What the database may forget, and forgetting it. What a snapshot, an evaluation set, a label or feedback names stays.

Counting and deleting share their conditions: what is announced is what goes.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.image_records import is_only_predicted
from ml.catalog.locks import HOUSE, lock_membership
from ml.catalog.tables import (
    attempts,
    backbones,
    events,
    features,
    feedback,
    image_statistics,
    images,
    metadata,
    predictions,
    results,
)
from ml.errors import CatalogError

IMAGES_AT_ONCE = 500
# A backbone that a training has just made has no version yet.
TRAINING_DAYS = 1
# What is known of an image through predictions alone; it goes with the image. Any other reference keeps the image.
_GOES_WITH_THE_IMAGE = {results, features, image_statistics, images}  # `images`: a copy outlives its original


@dataclass(frozen=True)
class Amount:
    """How much of something; bytes as far as they are known."""

    count: int
    byte_count: int = 0


@contextmanager
def lock_house(catalog: Catalog) -> Iterator[None]:
    """Let nobody else purge or back up as long as the block runs.

    Raises: CatalogError, somebody is at it.
    """
    with catalog.try_lock(HOUSE) as is_ours:
        if not is_ours:
            raise CatalogError("Expected to be the only purge or backup. Another one is running: wait for its end.")
        yield


def forgettable_images(connection: sa.Connection, days: int) -> Amount:
    """Images that were only predicted, and not in so many days, without feedback."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(images.c.byte_count), 0))
    return Amount(*connection.execute(query.where(_is_forgettable(days))).one())


def forget_images(connection: sa.Connection, days: int) -> dict[str, int]:
    """Delete some of these images, with their predictions, results and features. Call it until nothing comes back.

    Returns: the bytes of each, by hash; their objects are to be deleted once this transaction is committed.
    """
    lock_membership(connection, "pool")
    # Locked first, then looked at again: nobody adds a prediction or a result to them meanwhile.
    candidates = list(
        connection.scalars(
            sa.select(images.c.sha256)
            .where(_is_forgettable(days))
            .order_by(images.c.sha256)
            .limit(IMAGES_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
    )
    of_candidates = results.c.image_sha256.in_(candidates)
    connection.execute(sa.select(results.c.id).where(of_candidates).order_by(results.c.id).with_for_update())
    still = images.c.sha256.in_(candidates) & _is_forgettable(days)
    sizes: dict[str, int] = dict(
        connection.execute(sa.select(images.c.sha256, images.c.byte_count).where(still)).tuples().all()
    )
    ids = sa.select(results.c.id).where(results.c.image_sha256.in_(sizes))
    connection.execute(sa.delete(predictions).where(predictions.c.result_id.in_(ids)))
    for table in (results, features):
        connection.execute(sa.delete(table).where(table.c.image_sha256.in_(sizes)))
    connection.execute(sa.delete(images).where(images.c.sha256.in_(sizes)))
    return sizes


def old_predictions(connection: sa.Connection, days: int) -> Amount:
    """Predictions older than so many days that nobody gave feedback on."""
    return Amount(_count(connection, predictions, _is_old_prediction(days)))


def forget_predictions(connection: sa.Connection, days: int) -> Amount:
    """Delete these predictions."""
    return Amount(connection.execute(sa.delete(predictions).where(_is_old_prediction(days))).rowcount)


def old_events(connection: sa.Connection, days: int) -> Amount:
    """Events older than so many days."""
    return Amount(_count(connection, events, _is_before(events.c.happened_at, days)))


def forget_events(connection: sa.Connection, days: int) -> Amount:
    """Delete these events."""
    return Amount(connection.execute(sa.delete(events).where(_is_before(events.c.happened_at, days))).rowcount)


def is_training(connection: sa.Connection) -> bool:
    """Whether a training may be under way; `locks.lock_pool_for_snapshot` keeps the next one from starting."""
    started_lately = ~_is_before(attempts.c.started_at, TRAINING_DAYS)
    query = sa.select(sa.exists().where(attempts.c.finished_at.is_(None), started_lately))
    found: bool = connection.execute(query).scalar_one()
    return found


def dead_features(connection: sa.Connection, live_backbone_ids: Collection[str]) -> Amount:
    """Feature vectors of backbones other than these."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(sa.func.octet_length(features.c.vector)), 0))
    return Amount(*connection.execute(query.where(features.c.backbone_id.not_in(live_backbone_ids))).one())


def forget_features(connection: sa.Connection, live_backbone_ids: Collection[str]) -> None:
    """Delete these vectors."""
    connection.execute(sa.delete(features).where(features.c.backbone_id.not_in(live_backbone_ids)))


def dead_backbone_files(connection: sa.Connection, live_backbone_ids: Collection[str]) -> list[str]:
    """Hashes of the backbone files that only backbones other than these use."""
    is_live = _is_live(live_backbone_ids)
    both = (backbones.c.onnx_sha256, backbones.c.fp32_sha256)
    live = sa.union(*(sa.select(column).where(is_live) for column in both)).subquery()
    dead = sa.union(*(sa.select(column.label("sha256")).where(~is_live) for column in both)).subquery()
    query = sa.select(dead.c.sha256).where(dead.c.sha256.not_in(sa.select(live.c[0]))).order_by(dead.c.sha256)
    return list(connection.scalars(query))


def forget_backbones(connection: sa.Connection, live_backbone_ids: Collection[str]) -> None:
    """Delete the rows of other backbones than these. Delete their files once this transaction is committed."""
    connection.execute(sa.delete(backbones).where(~_is_live(live_backbone_ids)))


def _is_live(live_backbone_ids: Collection[str]) -> sa.ColumnElement[bool]:
    return backbones.c.onnx_sha256.in_([backbone_id.partition(":")[0] for backbone_id in live_backbone_ids])


def _is_forgettable(days: int) -> sa.ColumnElement[bool]:
    of_image = (results.c.image_sha256 == images.c.sha256) & (predictions.c.result_id == results.c.id)
    has_feedback = sa.exists().where(of_image, feedback.c.prediction_id == predictions.c.id)
    asked_lately = sa.exists().where(of_image, ~_is_before(predictions.c.requested_at, days))
    kept_by = [sa.exists().where(column == images.c.sha256) for column in _keeping_columns()]
    is_old = _is_before(images.c.received_at, days)
    return sa.and_(is_only_predicted(), is_old, ~has_feedback, ~asked_lately, *(~kept for kept in kept_by))


def _keeping_columns() -> list[sa.Column[str]]:
    """Every column that names an image, and so keeps it; those of tables to come included."""
    return [
        column
        for table in metadata.sorted_tables
        if table not in _GOES_WITH_THE_IMAGE
        for column in table.c
        if column.references(images.c.sha256)
    ]


def _is_old_prediction(days: int) -> sa.ColumnElement[bool]:
    has_feedback = sa.exists().where(feedback.c.prediction_id == predictions.c.id)
    return _is_before(predictions.c.requested_at, days) & ~has_feedback


def _is_before(column: sa.Column[object], days: int) -> sa.ColumnElement[bool]:
    return column < sa.func.now() - timedelta(days=days)


def _count(connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool]) -> int:
    found: int = connection.execute(sa.select(sa.func.count()).select_from(table).where(condition)).scalar_one()
    return found
