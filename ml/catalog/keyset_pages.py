"""Keyset pagination, newest first. A page begins after the last row of the page before, so all pages cost the same."""

import base64
import json
import math
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from ml.errors import CursorError

_MAX_ID = 2**63 - 1


class Order(NamedTuple):
    """The order of pages: by a time, then by a unique key. The query must select both columns under their names."""

    moment: sa.Column[Any]
    key: sa.Column[Any]


class RowsPage(NamedTuple):
    """The rows of one page, and the cursor of the next page; None on the last page."""

    rows: list[Any]
    next_cursor: str | None


def read_page(
    connection: sa.Connection, query: sa.Select[Any], order: Order, limit: int, cursor: str | None
) -> RowsPage:
    """Read one page, newest first.

    Args:
        limit: rows per page, at least 1.
        cursor: the `next_cursor` of the page before; None for the first page.
    Raises: CursorError, the cursor is not a `next_cursor`.
    """
    query = query.order_by(*(column.desc() for column in order)).limit(limit + 1)  # the extra row: is there more?
    if cursor is not None:
        query = query.where(_read_cursor(cursor, order) > sa.tuple_(*order))
    found = connection.execute(query).all()
    page = list(found[:limit])
    return RowsPage(page, _write_cursor(page[-1], order) if len(found) > limit else None)


def read_ranked_page(
    connection: sa.Connection,
    query: sa.Select[Any],
    rank: sa.Column[float],
    key: sa.Column[str],
    limit: int,
    cursor: str | None,
) -> RowsPage:
    """Read one page in the order of a number, the lowest first, then of a unique key. Args, Raises: as `read_page`.

    The query must select both columns under their names.
    """
    query = query.order_by(rank, key).limit(limit + 1)
    if cursor is not None:
        query = query.where(_read_ranked_cursor(cursor, rank, key) < sa.tuple_(rank, key))
    found = connection.execute(query).all()
    page = list(found[:limit])
    if len(found) <= limit:
        return RowsPage(page, None)
    return RowsPage(page, _encode([getattr(page[-1], rank.name), getattr(page[-1], key.name)]))


def _read_ranked_cursor(cursor: str, rank: sa.Column[float], key: sa.Column[str]) -> sa.Tuple:
    try:
        number, text = _decode(cursor)
    except (ValueError, TypeError, RecursionError) as error:
        raise _cursor_error() from error
    if type(number) is not float or not math.isfinite(number) or not _is_key(text, str):
        raise _cursor_error()
    return sa.tuple_(sa.literal(number, rank.type), sa.literal(text, key.type))


def _encode(values: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _decode(cursor: str) -> Any:
    padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
    return json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))


def _write_cursor(last: Any, order: Order) -> str:
    return _encode([getattr(last, order.moment.name).isoformat(), getattr(last, order.key.name)])


def _read_cursor(cursor: str, order: Order) -> sa.Tuple:
    try:
        moment, key = _decode(cursor)
        written = datetime.fromisoformat(moment)
        in_utc = written.astimezone(UTC)  # PostgreSQL refuses zones beyond 16 hours
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _cursor_error() from error
    if written.tzinfo is None or not _is_key(key, order.key.type.python_type):
        raise _cursor_error()
    return sa.tuple_(sa.literal(in_utc, order.moment.type), sa.literal(key, order.key.type))


def _is_key(key: object, kind: type[object]) -> bool:
    if type(key) is not kind:
        return False
    return (key.isascii() and "\0" not in key) if isinstance(key, str) else 0 < int(str(key)) <= _MAX_ID


def _cursor_error() -> CursorError:
    return CursorError("cursor: expected the unchanged `next_cursor` of the page before, got another text.")
