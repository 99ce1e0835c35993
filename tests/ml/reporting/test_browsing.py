"""Who may look through what; the routes' tests say what a page holds."""

import pytest

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.database import Catalog
from ml.catalog.logs.events import write_event
from ml.errors import CursorError, ForbiddenError
from ml.reporting.browsing import (
    ImageFilter,
    LogFilter,
    browse_events,
    browse_feedback,
    browse_images,
    browse_predictions,
)

EXPERT, ADMIN = Account(1, "eve", "expert"), Account(2, "ada", "admin")


def test_the_audit_log_and_logins_are_for_admins(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        write_event(connection, "test.done", "account:7", {})
    with pytest.raises(ForbiddenError):
        browse_events(catalog, EXPERT, LogFilter(), 10, None)
    for browse in (browse_predictions, browse_feedback):
        with pytest.raises(ForbiddenError):
            browse(catalog, EXPERT, LogFilter(login="ada"), 10, None)
        assert browse(catalog, ADMIN, LogFilter(login="ada"), 10, None).rows == []
    assert [row.kind for row in browse_events(catalog, ADMIN, LogFilter(), 10, None).rows] == ["test.done"]


@pytest.mark.parametrize("reader", [EXPERT, ADMIN])
def test_what_is_no_cursor_is_refused(catalog: Catalog, reader: Account) -> None:
    with pytest.raises(CursorError):
        browse_images(catalog, reader, ImageFilter(), 10, "nonsense")
    with pytest.raises(CursorError):
        browse_predictions(catalog, reader, LogFilter(), 10, "nonsense")
