"""The outbox: once per event, with the event, and nothing forgotten."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.locks import DELIVERY
from ml.catalog.logs.outbox import latest_alerts, note_try, raise_alert, unsent_alerts
from ml.catalog.tables import alerts


def put(catalog: Catalog, key: str, title: str = "title") -> None:
    with catalog.begin() as connection:
        raise_alert(connection, "promoted", key, title, "body")


def grow_old(catalog: Catalog, days: int) -> None:
    with catalog.begin() as connection:
        connection.execute(sa.update(alerts).values(raised_at=alerts.c.raised_at - timedelta(days=days)))


def keys_to_send(catalog: Catalog) -> list[str]:
    with catalog.begin() as connection:
        return [alert.event_key for alert in unsent_alerts(connection, 10)]


def test_an_event_is_told_once_and_its_first_words_stand(catalog: Catalog) -> None:
    put(catalog, "one", "first")
    put(catalog, "one", "second")
    put(catalog, "two", "third")
    with catalog.begin() as connection:
        assert [alert.title for alert in latest_alerts(connection, 10)] == ["third", "first"]
        assert [alert.title for alert in latest_alerts(connection, 1)] == ["third"]


def test_an_event_that_did_not_happen_is_not_told(catalog: Catalog) -> None:
    with pytest.raises(RuntimeError), catalog.begin() as connection:
        raise_alert(connection, "promoted", "one", "title", "body")
        raise RuntimeError
    assert keys_to_send(catalog) == []


def test_the_least_tried_is_sent_first(catalog: Catalog) -> None:
    put(catalog, "stubborn")
    put(catalog, "later")
    with catalog.begin() as connection:
        note_try(connection, unsent_alerts(connection, 1)[0].id, [], "refused")
    assert keys_to_send(catalog) == ["later", "stubborn"]


def test_what_was_sent_to_everybody_is_done(catalog: Catalog) -> None:
    put(catalog, "one")
    with catalog.begin() as connection:
        (alert,) = unsent_alerts(connection, 10)
        note_try(connection, alert.id, ["a"], "b: refused")
        note_try(connection, alert.id, ["a", "b"], None)
        (sent,) = latest_alerts(connection, 10)
    assert (sent.sent_to, sent.tries, sent.last_error, sent.sent_at is None) == (["a", "b"], 2, None, False)
    assert keys_to_send(catalog) == []


def test_an_old_alert_is_sent_only_where_it_was_tried_before(catalog: Catalog) -> None:
    put(catalog, "tried")
    with catalog.begin() as connection:
        note_try(connection, unsent_alerts(connection, 1)[0].id, [], "refused")
    put(catalog, "raised when nobody was named")
    grow_old(catalog, days=8)
    put(catalog, "fresh")
    assert keys_to_send(catalog) == ["fresh", "tried"]


def test_one_process_sends_at_a_time(catalog: Catalog) -> None:
    with catalog.try_lock(DELIVERY) as first, catalog.try_lock(DELIVERY) as second:
        assert (first, second) == (True, False)
    with catalog.try_lock(DELIVERY) as third:
        assert third


@pytest.mark.parametrize(("role", "may_write", "may_send"), [("web", True, False), ("training", True, True)])
def test_the_service_raises_alerts_and_the_nights_send_them(
    catalog: Catalog, role: str, may_write: bool, may_send: bool
) -> None:
    with catalog.begin() as connection:
        for privilege, expected in [("SELECT", True), ("INSERT", may_write), ("UPDATE", may_send), ("DELETE", False)]:
            granted = sa.select(sa.func.has_table_privilege(role, "logs.alerts", privilege))
            assert connection.execute(granted).scalar_one() is expected, privilege


def test_raising_an_alert_needs_no_more_than_the_service_has(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        connection.execute(sa.text("SET LOCAL ROLE web"))
        raise_alert(connection, "rolled_back", "one", "title", "body")
        raise_alert(connection, "rolled_back", "one", "title", "body")
    assert keys_to_send(catalog) == ["one"]
