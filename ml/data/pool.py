"""The pool: the items that models may be trained on. "Newest" and "new" refer to the time an item entered it."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml.catalog.annotations import Annotation, read_annotation
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.items.item_records import ItemParts
from ml.catalog.tables import annotations, item_classes, items

_IN_POOL = items.c.entered_pool_at.is_not(None)
_IS_LABELLED = items.c.label_origin.in_(HUMAN_ORIGINS)
_IS_CLASS_LABELLED = item_classes.c.label_origin.in_(HUMAN_ORIGINS)  # the same, from the index of item_classes
_ITEM = [
    items.c[name]
    for name in (
        "id",
        "image_sha256",
        "text_sha256",
        "class_names",
        "annotation",
        "label_origin",
        "group_key",
        "entered_pool_at",
    )
]
_CLASS_ORDER = (item_classes.c.entered_pool_at, item_classes.c.item_id)


@dataclass(frozen=True)
class PoolItem(ItemParts):
    """One item of the pool, with the columns that a snapshot needs."""

    annotation: Annotation
    label_origin: str
    group_key: str
    entered_pool_at: datetime


def newest_labelled(
    connection: sa.Connection,
    count: int | None,
    classes: Collection[str] | None = None,
    since: datetime | None = None,
    showing: str | None = None,
    outside_groups: Collection[str] = (),
) -> list[PoolItem]:
    """Return the newest human-labelled items of the pool, newest first.

    Args:
        count: number of items at most; None for all.
        classes: only items that show no other classes; None for all.
        since: only items that entered the pool at this time or later.
        showing: only items that show this class.
        outside_groups: only items of other groups.
    """
    is_labelled = _IS_LABELLED if showing is None else _IS_CLASS_LABELLED
    query = _newest(classes, since, showing).where(is_labelled).limit(count)
    if outside_groups:
        query = query.where(items.c.group_key.not_in(outside_groups))
    return [_item(row) for row in connection.execute(query)]


def each_newest_labelled(
    connection: sa.Connection, classes: Collection[str], showing: str, page_size: int
) -> Iterator[PoolItem]:
    """Yield the human-labelled items that show a class, newest first. Pages are read when needed.

    Args:
        classes: only items that show no other classes.
        showing: the class.
        page_size: number of items per query.
    """
    return _read_pages(connection, _newest(classes, None, showing).where(_IS_CLASS_LABELLED), page_size)


def each_newest_harvested(
    connection: sa.Connection, classes: Collection[str], showing: str, page_size: int, since: datetime | None = None
) -> Iterator[PoolItem]:
    """Yield the harvested items that show a class, newest first. Pages are read when needed.

    Args: as `each_newest_labelled`; since, only items that entered the pool at this time or later.
    """
    return _read_pages(connection, _newest(classes, since, showing).where(~_IS_CLASS_LABELLED), page_size)


def _newest(classes: Collection[str] | None, since: datetime | None, showing: str | None) -> sa.Select[Any]:
    query, entered, key = sa.select(*_ITEM).where(_IN_POOL), items.c.entered_pool_at, items.c.id
    if classes is not None:
        query = query.where(items.c.class_names.contained_by(list(classes)))
    if showing is not None:  # the index of item_classes has this order
        entered, key = _CLASS_ORDER
        query = query.join(item_classes).where(item_classes.c.class_name == showing, entered.is_not(None))
    query = query.order_by(entered.desc(), key)
    return query if since is None else query.where(entered >= since)


def _read_pages(connection: sa.Connection, query: sa.Select[Any], page_size: int) -> Iterator[PoolItem]:
    """Yield items page by page. The limit makes PostgreSQL read along the index and stop."""
    entered, key = _CLASS_ORDER
    page = query.limit(page_size)
    while rows := connection.execute(page).all():
        yield from map(_item, rows)
        last = rows[-1]
        is_after = (entered < last.entered_pool_at) | (key > last.id)
        page = query.where(entered <= last.entered_pool_at, is_after).limit(page_size)


def _item(row: Any) -> PoolItem:
    item_id, image, text, class_names, detail, *rest = row
    return PoolItem(item_id, image, text, read_annotation(class_names, detail), *rest)


def count_labelled_since(connection: sa.Connection, since: datetime) -> dict[tuple[str, ...], int]:
    """Count the human-labelled items that entered the pool after a moment, by their class names."""
    query = sa.select(items.c.class_names, sa.func.count()).where(items.c.entered_pool_at > since, _IS_LABELLED)
    rows = connection.execute(query.group_by(items.c.class_names))
    return {tuple(class_names): count for class_names, count in rows}


def is_harvested_since(connection: sa.Connection, since: datetime) -> bool:
    """Return whether harvested items entered the pool after a moment."""
    is_new = sa.exists().where(items.c.entered_pool_at > since, ~_IS_LABELLED)
    return bool(connection.execute(sa.select(is_new)).scalar_one())


def count_by_origin(connection: sa.Connection) -> dict[str, int]:
    """Count the pool items by label origin."""
    query = (
        sa.select(items.c.label_origin, sa.func.count())
        .where(_IN_POOL)
        .group_by(items.c.label_origin)
        .order_by(items.c.label_origin)
    )
    return dict(connection.execute(query).tuples().all())


def count_by_class(connection: sa.Connection, among: Collection[str] | None = None) -> dict[str, int]:
    """Count the human-labelled pool items by class, in the order of class names.

    Args: among, only these classes; None for all.
    """
    query = sa.select(item_classes.c.class_name, sa.func.count())
    query = query.where(item_classes.c.entered_pool_at.is_not(None), _IS_CLASS_LABELLED)
    if among is not None:
        query = query.where(item_classes.c.class_name.in_(among))
    rows = connection.execute(query.group_by(item_classes.c.class_name))
    return dict(sorted(rows.tuples().all()))


def find_single_groups(connection: sa.Connection, among: Collection[str]) -> dict[str, str]:
    """Return the classes whose human-labelled pool items, two or more, are all in one group: class name -> group.

    Args: among, only these classes.
    """
    query = (
        sa.select(item_classes.c.class_name, sa.func.min(items.c.group_key))
        .join(items)
        .where(item_classes.c.class_name.in_(among), item_classes.c.entered_pool_at.is_not(None), _IS_CLASS_LABELLED)
        .group_by(item_classes.c.class_name)
        .having(sa.func.count() > 1, sa.func.count(sa.distinct(items.c.group_key)) == 1)
        .order_by(item_classes.c.class_name)
    )
    return dict(connection.execute(query).tuples().all())


def count_each_class(by_names: Mapping[tuple[str, ...], int]) -> Counter[str]:
    """Count the items that show each class. An item that shows a class twice counts once.

    Args: by_names, class names of an item -> number of items with these class names.
    """
    counts: Counter[str] = Counter()
    for class_names, count in by_names.items():
        counts.update(dict.fromkeys(class_names, count))
    return counts


def pool_state(connection: sa.Connection) -> str:
    """Return a text that changes when an item enters or leaves the pool, or when any annotation changes."""
    size, newest = connection.execute(
        sa.select(sa.func.count(), sa.func.max(items.c.entered_pool_at)).where(_IN_POOL)
    ).one()
    last = connection.execute(sa.select(sa.func.max(annotations.c.id))).scalar()
    return f"{size} images, newest {newest}, label {last}"
