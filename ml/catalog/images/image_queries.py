"""Query items with an image for an admin: with filters, newest first, in pages."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from ml.catalog.annotations import Annotation, read_annotation
from ml.catalog.items.item_records import is_not_erased
from ml.catalog.keyset_pages import Order, read_page
from ml.catalog.tables import images, item_classes, items

LabelOrigin = Literal["curated", "confirmed", "harvested", "stated"]
HeldBack = Literal["suspended", "excluded", "waiting", "copy", "superseded"]


@dataclass(frozen=True)
class ImageFilter:
    """A filter of items. An item must match all fields that are not None.

    Args:
        class_name: a class in the item's annotation.
        split: pool, evaluation, or none for items without a split.
        received_from: earliest time, inclusive.
        received_before: latest time, exclusive.
    """

    class_name: str | None = None
    origin: LabelOrigin | None = None
    split: Literal["pool", "evaluation", "none"] | None = None
    held_back: HeldBack | None = None
    received_from: datetime | None = None
    received_before: datetime | None = None


@dataclass(frozen=True)
class ListedImage:
    """One item of a page. width, height: of its image, in pixels."""

    id: str
    annotation: Annotation | None
    label_origin: LabelOrigin | None
    split: str | None
    evaluation_part: str | None
    held_back: HeldBack | None
    source: str
    width: int
    height: int
    received_at: datetime
    entered_pool_at: datetime | None


@dataclass(frozen=True)
class Page:
    """The items of one page, and the cursor of the next page; None on the last page."""

    items: list[ListedImage]
    next_cursor: str | None


def _of_image(name: str) -> sa.ScalarSelect[Any]:
    """Return a subquery for a column of the item's image. It runs only for the rows of the page.

    With a join, PostgreSQL may plan to read all images.
    """
    return sa.select(images.c[name]).where(images.c.sha256 == items.c.image_sha256).scalar_subquery()


_COLUMNS = [
    *(_of_image(name) if name in ("width", "height") else items.c[name] for name in ListedImage.__dataclass_fields__),
    items.c.class_names,
    items.c.id.label("item_id"),
]
_MEANINGS: dict[str, Callable[[Any], sa.ColumnElement[bool]]] = {
    "class_name": lambda class_name: item_classes.c.class_name == class_name,
    "split": lambda split: items.c.split.is_(None) if split == "none" else items.c.split == split,
    "held_back": lambda why: items.c.held_back == why,
}
_HAS_IMAGE = items.c.image_sha256.is_not(None) & is_not_erased()
_ORDER = Order(items.c.received_at, items.c.id)
_ORDER_OF_CLASS = Order(item_classes.c.received_at, item_classes.c.item_id)


def query_images(
    connection: sa.Connection,
    wanted: ImageFilter,
    limit: int,
    cursor: str | None = None,
    visible: sa.ColumnElement[bool] | None = None,
) -> Page:
    """Read one page, newest first.

    Args:
        limit: items per page, at least 1.
        cursor: the `next_cursor` of the page before; None for the first page.
        visible: a condition that all items must meet besides the filter.
    Raises: CursorError, the cursor is not a `next_cursor`.
    """
    query, order, indexed = sa.select(*_COLUMNS).where(_HAS_IMAGE), _ORDER, items
    if wanted.class_name is not None:  # the index of item_classes has the order, the times and the origins
        query, order, indexed = query.join(item_classes), _ORDER_OF_CLASS, item_classes
    conditions = _conditions(wanted, indexed) + ([] if visible is None else [visible])
    page = read_page(connection, query.where(*conditions), order, limit, cursor)
    return Page([_listed(row) for row in page.rows], page.next_cursor)


def _listed(row: Any) -> ListedImage:
    *values, class_names, _ = row
    known = dict(zip(ListedImage.__dataclass_fields__, values, strict=True))
    annotation = None if class_names is None else read_annotation(class_names, known["annotation"])
    return ListedImage(**(known | {"annotation": annotation}))


def _conditions(wanted: ImageFilter, indexed: sa.Table) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a filter. Args: indexed, the table whose index the query uses."""
    meanings = _MEANINGS | {
        "origin": indexed.c.label_origin.__eq__,
        "received_from": indexed.c.received_at.__ge__,
        "received_before": indexed.c.received_at.__lt__,
    }
    return [meanings[name](value) for name, value in vars(wanted).items() if value is not None]
