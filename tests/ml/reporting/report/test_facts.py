"""Reading the facts of the page: people appear with their logins, not with the ids in the rows."""

from collections.abc import Callable

import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import add_account
from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import latest_alerts, raise_alert
from ml.catalog.models.attempts import start_attempt
from ml.data.snapshot_rules import SnapshotRules, create_snapshot
from ml.reporting.report.facts import read_facts
from ml.settings import Settings


def test_people_appear_with_their_logins(
    catalog: Catalog, settings: Settings, add_images: Callable[..., list[str]]
) -> None:
    for label in ("a", "b"):
        add_images(label, 20)
    ada = add_account(catalog, "ada", "admin", "correct horse battery")
    with catalog.begin() as connection:
        snapshot_id = create_snapshot(connection, SnapshotRules(1000, 0.2, 0.3), None)
        start_attempt(connection, "one", f"fine-tuning asked for by account:{ada.id}", {}, snapshot_id)
        raise_alert(connection, "promoted", "one", "In production: version 2", f"By account:{ada.id}: because")
        facts = read_facts(connection, settings)
        assert [attempt.reason for attempt in facts.attempts] == ["fine-tuning asked for by ada"]
        assert [alert.body for alert in facts.alerts] == ["By ada: because"]
        assert latest_alerts(connection, 1)[0].body == f"By account:{ada.id}: because"


def test_a_role_that_may_not_read_accounts_reads_all_but_their_names(
    catalog: Catalog, settings: Settings, add_images: Callable[..., list[str]]
) -> None:
    add_images("a", 3)
    ada = add_account(catalog, "ada", "admin", "correct horse battery")
    with catalog.begin() as connection:
        raise_alert(connection, "promoted", "one", "In production: version 2", f"By account:{ada.id}: because")
    with catalog.begin() as connection:
        connection.execute(sa.text("SET LOCAL ROLE grafana_ro"))
        facts = read_facts(connection, settings)
    assert [alert.body for alert in facts.alerts] == ["By an account: because"]
    assert facts.health.pool == {"curated": 3}
