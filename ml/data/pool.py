"""The pool: images with a final, eligible label. "Newest" and "new" mean the time they entered it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.tables import images, labels

_IN_POOL = images.c.entered_pool_at.is_not(None)
_IS_LABELLED = images.c.label_origin.in_(HUMAN_ORIGINS)
_IMAGE = (images.c.sha256, images.c.label, images.c.label_origin, images.c.group_key, images.c.entered_pool_at)
_BLOCK = 500  # rows of what is read as it is asked for


@dataclass(frozen=True)
class PoolImage:
    """One image of the pool as a snapshot sees it."""

    sha256: str
    label: str
    label_origin: str
    group_key: str
    entered_pool_at: datetime


def newest_labelled(
    connection: sa.Connection, count: int | None, labels: Collection[str] | None = None, since: datetime | None = None
) -> list[PoolImage]:
    """The newest images of the pool that people labelled, newest first.

    Args:
        count: so many at most; all when None.
        labels: of these labels only.
        since: that entered no earlier.
    """
    query = _newest(since).where(_IS_LABELLED).limit(count)
    if labels is not None:
        query = query.where(images.c.label.in_(labels))
    return [PoolImage(*row) for row in connection.execute(query)]


def newest_harvested(connection: sa.Connection, label: str, since: datetime | None = None) -> Iterator[PoolImage]:
    """The harvested images of a label, newest first, read as far as they are asked for.

    Args: since, that entered no earlier.
    """
    query = _newest(since).where(images.c.label == label, ~_IS_LABELLED).execution_options(yield_per=_BLOCK)
    with connection.execute(query) as rows:
        yield from (PoolImage(*row) for row in rows)


def _newest(since: datetime | None) -> sa.Select[Any]:
    query = sa.select(*_IMAGE).where(_IN_POOL).order_by(images.c.entered_pool_at.desc(), images.c.sha256)
    return query if since is None else query.where(images.c.entered_pool_at >= since)


def count_labelled_since(connection: sa.Connection, since: datetime) -> dict[str, int]:
    """Images of each label that entered the pool after a moment and that people labelled."""
    query = sa.select(images.c.label, sa.func.count()).where(images.c.entered_pool_at > since, _IS_LABELLED)
    return dict(connection.execute(query.group_by(images.c.label)).tuples().all())


def is_harvested_since(connection: sa.Connection, since: datetime) -> bool:
    """Whether harvested images entered the pool after a moment."""
    is_new = sa.exists().where(images.c.entered_pool_at > since, ~_IS_LABELLED)
    return bool(connection.execute(sa.select(is_new)).scalar_one())


def count_by_origin(connection: sa.Connection) -> dict[str, int]:
    """Pool images of each label origin."""
    query = (
        sa.select(images.c.label_origin, sa.func.count())
        .where(_IN_POOL)
        .group_by(images.c.label_origin)
        .order_by(images.c.label_origin)
    )
    return dict(connection.execute(query).tuples().all())


def count_by_label(connection: sa.Connection) -> dict[str, int]:
    """Human-labelled pool images of each label."""
    query = (
        sa.select(images.c.label, sa.func.count())
        .where(_IN_POOL, _IS_LABELLED)
        .group_by(images.c.label)
        .order_by(images.c.label)
    )
    return dict(connection.execute(query).tuples().all())


def pool_state(connection: sa.Connection) -> str:
    """A text that changes whenever the pool's members or anybody's labels do."""
    size, newest = connection.execute(
        sa.select(sa.func.count(), sa.func.max(images.c.entered_pool_at)).where(_IN_POOL)
    ).one()
    last_label = connection.execute(sa.select(sa.func.max(labels.c.id))).scalar()
    return f"{size} images, newest {newest}, label {last_label}"
