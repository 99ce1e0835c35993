"""Images, predictions, feedback and the audit log as a person may look through them, a page at a time.

Experts see the images that they may judge, and nobody's login; the audit log is the admins'.
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

__all__ = [  # with the filters that a caller fills in
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
    """One page of the images that a reader may see, the newest first.

    Args:
        limit: rows in a page, from 1.
        cursor: the `next_cursor` of the page before.
    Raises: CursorError, it is not one; DatabaseUnavailableError.
    """
    visible = None if reader.role == "admin" else may_be_seen_by(reader)
    with catalog.begin() as connection:
        return query_images(connection, wanted, limit, cursor, visible)


def browse_predictions(catalog: Catalog, reader: Account, wanted: LogFilter, limit: int, cursor: str | None) -> LogPage:
    """One page of predictions, the newest first.

    Raises: as browse_images; ForbiddenError, a login is asked for, and the reader is no admin.
    """
    return _browse(query_predictions, catalog, reader, wanted, limit, cursor)


def browse_feedback(catalog: Catalog, reader: Account, wanted: LogFilter, limit: int, cursor: str | None) -> LogPage:
    """One page of feedback, the newest first. Raises: as browse_predictions."""
    return _browse(query_feedback, catalog, reader, wanted, limit, cursor)


def browse_events(catalog: Catalog, reader: Account, wanted: LogFilter, limit: int, cursor: str | None) -> LogPage:
    """One page of the audit log, the newest first.

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
        raise ForbiddenError("The audit log and people's logins are for admins.")
