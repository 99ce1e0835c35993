"""The pool: images with a final, eligible label. "Newest" and "new" mean the time they entered it."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ml.catalog.images.label_origins import HUMAN_ORIGINS, NewImages
from ml.catalog.tables import images, labels


@dataclass(frozen=True)
class PoolImage:
    """One image of the pool as a snapshot sees it."""

    sha256: str
    label: str
    label_origin: str
    group_key: str


def newest_images(
    connection: sa.Connection, count: int | None, label: str | None = None, since: datetime | None = None
) -> list[PoolImage]:
    """The newest images of the pool, newest first.

    Args:
        count: so many at most; all when None.
        label: of this label only.
        since: that entered no earlier.
    """
    query = (
        sa.select(images.c.sha256, images.c.label, images.c.label_origin, images.c.group_key)
        .where(images.c.entered_pool_at.is_not(None))
        .order_by(images.c.entered_pool_at.desc(), images.c.sha256)
        .limit(count)
    )
    if label is not None:
        query = query.where(images.c.label == label)
    if since is not None:
        query = query.where(images.c.entered_pool_at >= since)
    return [PoolImage(*row) for row in connection.execute(query)]


def count_new_images(connection: sa.Connection, since: datetime) -> NewImages:
    """Count the images that entered the pool after a moment, such as a snapshot's cutoff."""
    is_human = images.c.label_origin.in_(HUMAN_ORIGINS)
    query = sa.select(sa.func.count().filter(is_human), sa.func.count().filter(sa.not_(is_human))).where(
        images.c.entered_pool_at > since
    )
    return NewImages(*connection.execute(query).one())


def count_by_origin(connection: sa.Connection) -> dict[str, int]:
    """Pool images of each label origin."""
    query = (
        sa.select(images.c.label_origin, sa.func.count())
        .where(images.c.entered_pool_at.is_not(None))
        .group_by(images.c.label_origin)
        .order_by(images.c.label_origin)
    )
    return dict(connection.execute(query).tuples().all())


def count_by_label(connection: sa.Connection) -> dict[str, int]:
    """Human-labelled pool images of each label."""
    query = (
        sa.select(images.c.label, sa.func.count())
        .where(images.c.entered_pool_at.is_not(None), images.c.label_origin.in_(HUMAN_ORIGINS))
        .group_by(images.c.label)
        .order_by(images.c.label)
    )
    return dict(connection.execute(query).tuples().all())


def pool_state(connection: sa.Connection) -> str:
    """A text that changes whenever the pool's members or anybody's labels do."""
    in_pool = images.c.entered_pool_at.is_not(None)
    size, newest = connection.execute(
        sa.select(sa.func.count(), sa.func.max(images.c.entered_pool_at)).where(in_pool)
    ).one()
    last_label = connection.execute(sa.select(sa.func.max(labels.c.id))).scalar()
    return f"{size} images, newest {newest}, label {last_label}"
