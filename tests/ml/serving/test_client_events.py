import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.tables import events
from ml.errors import EventError
from ml.serving.client_events import record_client_event


def test_an_event_is_kept_under_a_kind_that_is_none_of_ours(catalog: Catalog) -> None:
    event_id = record_client_event(catalog, "image.suspended", "account:7", {"screen": "upload"})
    with catalog.begin() as connection:
        row = connection.execute(sa.select(events)).one()
    assert (row.id, row.kind, row.actor) == (event_id, "client:image.suspended", "account:7")
    assert row.detail == {"screen": "upload"}


@pytest.mark.parametrize("value", ["\x00", float("nan"), "\ud800"])
def test_what_the_database_cannot_hold_is_refused_and_leaves_nothing(catalog: Catalog, value: object) -> None:
    with pytest.raises(EventError, match="detail"):
        record_client_event(catalog, "odd", "account:7", {"value": value})
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(events)) == 0
