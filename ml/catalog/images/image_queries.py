"""Images as an admin looks through them: filtered, newest first, a page at a time."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from ml.catalog.tables import images
from ml.errors import CursorError

LabelOrigin = Literal["curated", "confirmed", "harvested", "stated"]
HeldBack = Literal["suspended", "excluded", "waiting", "copy"]


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
_KEY = sa.tuple_(images.c.received_at, images.c.sha256)


def query_images(connection: sa.Connection, wanted: ImageFilter, limit: int, cursor: str | None = None) -> Page:
    """One page, the newest first.

    Args:
        limit: images in a page, from 1.
        cursor: the `next_cursor` of the page before.
    Raises: CursorError, it is not one.
    """
    query = (
        sa.select(*_COLUMNS)
        .where(*_conditions(wanted))
        .order_by(images.c.received_at.desc(), images.c.sha256.desc())
        .limit(limit + 1)  # one more tells whether there is another page
    )
    if cursor is not None:
        query = query.where(_read_cursor(cursor) > _KEY)
    found = [ListedImage(*row) for row in connection.execute(query)]
    page = found[:limit]
    return Page(page, _write_cursor(page[-1]) if len(found) > limit else None)


def _conditions(wanted: ImageFilter) -> list[sa.ColumnElement[bool]]:
    given = {name: value for name, value in vars(wanted).items() if value is not None}
    return [_MEANINGS[name](value) for name, value in given.items()]


def _write_cursor(last: ListedImage) -> str:
    text = json.dumps([last.received_at.isoformat(), last.sha256])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> sa.Tuple:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        received_at, sha256 = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        written, key = datetime.fromisoformat(received_at), sha256.encode("ascii").decode()
        moment = written.astimezone(UTC)  # PostgreSQL refuses zones beyond 16 hours
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise CursorError("cursor: expected the `next_cursor` of the page before, unchanged, got another.") from error
    if written.tzinfo is None or "\0" in key:
        raise CursorError("cursor: expected the `next_cursor` of the page before, unchanged, got another.")
    return sa.tuple_(sa.literal(moment, images.c.received_at.type), sa.literal(key))
