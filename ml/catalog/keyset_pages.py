"""Pages that begin after the last row of the page before, newest first: the last page costs what the first does."""

import base64
import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from ml.errors import CursorError

_MAX_ID = 2**63 - 1


class Order(NamedTuple):
    """What pages are ordered by: a time, and a key that no two rows share. A query selects both, under their names."""

    moment: sa.Column[Any]
    key: sa.Column[Any]


class RowsPage(NamedTuple):
    """Some rows, and where the next page begins; None at the end."""

    rows: list[Any]
    next_cursor: str | None


def read_page(
    connection: sa.Connection, query: sa.Select[Any], order: Order, limit: int, cursor: str | None
) -> RowsPage:
    """Read one page, the newest first.

    Args:
        limit: rows in a page, from 1.
        cursor: the `next_cursor` of the page before.
    Raises: CursorError, it is not one.
    """
    query = query.order_by(*(column.desc() for column in order)).limit(limit + 1)  # one more: is there another page?
    if cursor is not None:
        query = query.where(_read_cursor(cursor, order) > sa.tuple_(*order))
    found = connection.execute(query).all()
    page = list(found[:limit])
    return RowsPage(page, _write_cursor(page[-1], order) if len(found) > limit else None)


def _write_cursor(last: Any, order: Order) -> str:
    text = json.dumps([getattr(last, order.moment.name).isoformat(), getattr(last, order.key.name)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str, order: Order) -> sa.Tuple:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        moment, key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        written = datetime.fromisoformat(moment)
        in_utc = written.astimezone(UTC)  # PostgreSQL refuses zones beyond 16 hours
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _no_cursor() from error
    if written.tzinfo is None or not _is_key(key, order.key.type.python_type):
        raise _no_cursor()
    return sa.tuple_(sa.literal(in_utc, order.moment.type), sa.literal(key, order.key.type))


def _is_key(key: object, kind: type[object]) -> bool:
    if type(key) is not kind:
        return False
    return (key.isascii() and "\0" not in key) if isinstance(key, str) else 0 < int(str(key)) <= _MAX_ID


def _no_cursor() -> CursorError:
    return CursorError("cursor: expected the `next_cursor` of the page before, unchanged, got another.")
