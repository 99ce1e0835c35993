"""Every move of the alias is told once, with its line of the journal."""

from pathlib import Path

import pytest

from ml.app import Workspace
from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import Alert, latest_alerts
from ml.catalog.models import journal
from ml.evaluation import promotion
from ml.registry.mlflow_registry import Registry
from ml.settings import Settings


@pytest.fixture
def workspace(settings: Settings, catalog: Catalog, registry: Registry, bundle: Path) -> Workspace:
    """Two versions; the first is in production."""
    for attempt_id in (1, 2):
        with registry.start_run(attempt_id) as run:
            run.log_model(bundle)
        registry.register(run.mlflow_run_id, {})
    opened = Workspace(settings, catalog, registry)
    promotion.promote(opened, 1, expected_current=None, actor="retrain", reason="The first model.")
    return opened


def told(workspace: Workspace) -> list[Alert]:
    with workspace.catalog.begin() as connection:
        return list(reversed(latest_alerts(connection, 100)))


def test_promotion_rollback_and_external_move_are_told_once_each(workspace: Workspace) -> None:
    promotion.promote(workspace, 2, expected_current=1, actor="account:7", reason="It is better.")
    promotion.promote(workspace, 2, expected_current=1, actor="account:7", reason="again")
    promotion.roll_back(workspace, actor="account:7", reason="It was not.")
    workspace.registry.set_champion(2)
    for _ in range(3):
        assert promotion.note_external_move(workspace) == 2
    alerts = told(workspace)
    assert [(alert.kind, alert.title) for alert in alerts] == [
        ("promoted", "In production: version 1"),
        ("promoted", "In production: version 2"),
        ("rolled_back", "Rolled back to version 1"),
        ("moved_externally", "Moved by hand in MLflow: version 2"),
    ]
    assert alerts[0].body == "Before: no version. By retrain: The first model."
    assert alerts[1].body == "Before: version 1. By account:7: It is better."


def test_a_promotion_that_died_before_its_last_word_is_told_as_what_it_was(workspace: Workspace) -> None:
    with workspace.catalog.begin() as connection:
        journal.write_intent(connection, "promotion", 1, 2, "retrain", "It is better.")
    workspace.registry.set_champion(2)
    promotion.note_external_move(workspace)
    promotion.note_external_move(workspace)
    assert [alert.kind for alert in told(workspace)] == ["promoted", "promoted"]
    assert told(workspace)[1].body.endswith("By retrain: It is better.")


def test_a_promotion_that_never_happened_is_not_told(workspace: Workspace) -> None:
    with workspace.catalog.begin() as connection:
        journal.write_intent(connection, "promotion", 1, 2, "retrain", "It is better.")
    promotion.note_external_move(workspace)
    assert len(told(workspace)) == 1


def test_letting_promotion_go_on_is_no_news(workspace: Workspace) -> None:
    promotion.release_promotion(workspace, actor="account:7", reason="test")
    assert len(told(workspace)) == 1
