"""Images as an admin looks through them: filtered, newest first, a page at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from ml.catalog.keyset_pages import Order, read_page
from ml.catalog.tables import images

LabelOrigin = Literal["curated", "confirmed", "harvested", "stated"]
HeldBack = Literal["suspended", "excluded", "waiting"]


@dataclass(frozen=True)
class ImageFilter:
    """Which images: those for which all that is not None holds.

    Args:
        split: pool, evaluation, or none for images that are only predicted.
        received_from: no earlier.
        received_before: earlier.
    """

    label: str | None = None
    origin: LabelOrigin | None = None
    split: Literal["pool", "evaluation", "none"] | None = None
    held_back: HeldBack | None = None
    received_from: datetime | None = None
    received_before: datetime | None = None


@dataclass(frozen=True)
class ListedImage:
    """One image of a page; width and height in pixels."""

    sha256: str
    label: str | None
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
    """Some images, and where the next page begins; None at the end."""

    images: list[ListedImage]
    next_cursor: str | None


_COLUMNS = [images.c[name] for name in ListedImage.__dataclass_fields__]
_MEANINGS: dict[str, Callable[[Any], sa.ColumnElement[bool]]] = {
    "label": lambda label: images.c.label == label,
    "origin": lambda origin: images.c.label_origin == origin,
    "split": lambda split: images.c.split.is_(None) if split == "none" else images.c.split == split,
    "held_back": lambda why: images.c.held_back == why,
    "received_from": lambda moment: images.c.received_at >= moment,
    "received_before": lambda moment: images.c.received_at < moment,
}
_ORDER = Order(images.c.received_at, images.c.sha256)


def query_images(
    connection: sa.Connection,
    wanted: ImageFilter,
    limit: int,
    cursor: str | None = None,
    visible: sa.ColumnElement[bool] | None = None,
) -> Page:
    """One page, the newest first.

    Args:
        limit: images in a page, from 1.
        cursor: the `next_cursor` of the page before.
        visible: a condition that all of them meet, besides the filter.
    Raises: CursorError, it is not one.
    """
    conditions = _conditions(wanted) + ([] if visible is None else [visible])
    page = read_page(connection, sa.select(*_COLUMNS).where(*conditions), _ORDER, limit, cursor)
    return Page([ListedImage(*row) for row in page.rows], page.next_cursor)


def _conditions(wanted: ImageFilter) -> list[sa.ColumnElement[bool]]:
    given = {name: value for name, value in vars(wanted).items() if value is not None}
    return [_MEANINGS[name](value) for name, value in given.items()]
