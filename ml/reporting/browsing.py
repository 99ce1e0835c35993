"""Show images, predictions, feedback and the audit log to a person, one page at a time.

Experts see the images that they may judge, but no logins. Only admins see the audit log.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.database import Catalog
from ml.catalog.images.image_queries import HeldBack, ImageFilter, LabelOrigin, Page, query_images
from ml.catalog.logs.log_queries import LogFilter, LogPage, query_events, query_feedback, query_predictions
from ml.data.image_viewing import may_be_seen_by
from ml.errors import ForbiddenError

__all__ = [  # includes the filters that a caller needs
    "HeldBack",
    "ImageFilter",
    "LabelOrigin",
    "LogFilter",
    "browse_events",
    "browse_feedback",
    "browse_images",
    "browse_predictions",
]

_Query = Callable[[sa.Connection, LogFilter, int, str | None], LogPage]


def browse_images(catalog: Catalog, reader: Account, wanted: ImageFilter, limit: int, cursor: str | None) -> Page:
    """Return one page of the images that a reader may see, newest first.

    Args:
        limit: rows per page, from 1.
        cursor: the `next_cursor` of the previous page; None for the first page.
    Raises: CursorError, the cursor is not valid; DatabaseUnavailableError.
    """
    visible = None if reader.role == "admin" else may_be_seen_by(reader)
    with catalog.begin() as connection:
        return query_images(connection, wanted, limit, cursor, visible)


def browse_predictions(catalog: Catalog, reader: Account, wanted: LogFilter, limit: int, cursor: str | None) -> LogPage:
    """Return one page of predictions, newest first.

    Raises: as browse_images; ForbiddenError, the filter has a login and the reader is no admin.
    """
    return _browse(query_predictions, catalog, reader, wanted, limit, cursor)


def browse_feedback(catalog: Catalog, reader: Account, wanted: LogFilter, limit: int, cursor: str | None) -> LogPage:
    """Return one page of feedback, newest first. Raises: as browse_predictions."""
    return _browse(query_feedback, catalog, reader, wanted, limit, cursor)


def browse_events(catalog: Catalog, reader: Account, wanted: LogFilter, limit: int, cursor: str | None) -> LogPage:
    """Return one page of the audit log, newest first.

    Raises: as browse_images; ForbiddenError, the reader is no admin.
    """
    _demand_admin(reader)
    return _browse(query_events, catalog, reader, wanted, limit, cursor)


def _browse(
    query: _Query, catalog: Catalog, reader: Account, wanted: LogFilter, limit: int, cursor: str | None
) -> LogPage:
    if wanted.login is not None:
        _demand_admin(reader)
    with catalog.begin() as connection:
        page = query(connection, wanted, limit, cursor)
    return page if reader.role == "admin" else page._replace(rows=[_without_login(row) for row in page.rows])


def _without_login(row: Any) -> Any:
    return replace(row, login=None)


def _demand_admin(reader: Account) -> None:
    if reader.role != "admin":
        raise ForbiddenError("Expected an admin: only admins see the audit log and people's logins.")
