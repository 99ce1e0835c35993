"""What is read for the page: people by their logins, whatever the rows call them."""

from collections.abc import Callable

from ml.catalog.accounts.user_accounts import add_account
from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import latest_alerts, raise_alert
from ml.catalog.models.attempts import start_attempt
from ml.data.snapshot_rules import SnapshotRules, create_snapshot
from ml.reporting.report.facts import read_facts
from ml.settings import Settings


def test_people_are_named_by_their_logins(
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
