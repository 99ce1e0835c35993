"""Nights whose alerts cannot be sent: they go on, and each event is written once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml import cycle
from ml.app import Workspace
from ml.catalog.logs.outbox import latest_alerts
from ml.catalog.tables import attempts, items, snapshots
from ml.ingest.digits import DigitFolders
from ml.ingest.folder import ingest_folder
from ml.registry.mlflow_registry import Registry
from ml.reporting.alert_delivery import alerting_workspace
from ml.training.recipes import Retrain

PARAMETERS = Retrain(snapshot_size=200)


@pytest.fixture
def unheard(trained: Workspace, free_tcp_port: int) -> Iterator[Workspace]:
    """Version 1 is in production, and alerts go where nobody listens."""
    address = SecretStr(f"json://127.0.0.1:{free_tcp_port}")
    settings = trained.settings.model_copy(update={"alert_urls": address, "review_interval_days": 2})
    with alerting_workspace(settings) as workspace:
        yield workspace


def kinds(workspace: Workspace) -> list[str]:
    with workspace.catalog.begin() as connection:
        return [alert.kind for alert in reversed(latest_alerts(connection, 100))]


def test_nights_go_on_and_tell_each_event_once(unheard: Workspace, few_digits: DigitFolders) -> None:
    ingest_folder(unheard.catalog, few_digits.later, "pool")
    for _ in range(3):
        with alerting_workspace(unheard.settings) as workspace:
            assert cycle.monitor(workspace).new_images == 120
    assert kinds(unheard) == ["promoted", "new_images"]
    with unheard.catalog.begin() as connection:
        told = latest_alerts(connection, 10)
    assert all(alert.sent_at is None and alert.tries > 0 for alert in told)


def test_a_model_whose_snapshot_is_old_is_reviewed_once(unheard: Workspace) -> None:
    assert cycle.monitor(unheard).reasons == []
    with unheard.catalog.begin() as connection:
        older = snapshots.c.cutoff - sa.text("interval '3 days'")
        connection.execute(sa.update(snapshots).values(cutoff=older, pool_state="of three days ago"))
        connection.execute(sa.update(items).values(entered_pool_at=items.c.entered_pool_at - timedelta(days=4)))
    (reason,) = cycle.monitor(unheard).reasons
    assert reason == "3 days since the last training; a review is due every 2."
    cycle.retrain(unheard, "review", reason, PARAMETERS)
    assert cycle.monitor(unheard).reasons == []


def test_a_training_that_died_is_told_when_its_time_is_over(unheard: Workspace) -> None:
    cycle.take_snapshot(unheard, "died", "test", PARAMETERS)
    cycle.raise_due_alerts(unheard)
    assert kinds(unheard) == ["promoted"]
    with unheard.catalog.begin() as connection:
        connection.execute(sa.update(attempts).values(started_at=sa.text("now() - interval '31 minutes'")))
    cycle.raise_due_alerts(unheard)
    cycle.raise_due_alerts(unheard)
    assert kinds(unheard) == ["promoted", "retraining_overdue"]


def test_a_model_that_somebody_put_into_production_in_mlflow_is_told(unheard: Workspace) -> None:
    cycle.retrain(unheard, "second", "test", replace(PARAMETERS, seed=3))
    here = unheard.registry.champion()
    unheard.registry.set_champion(1 if here == 2 else 2)
    before = len(kinds(unheard))
    cycle.raise_due_alerts(unheard)
    assert len(kinds(unheard)) == before + 1
    gone = replace(unheard, registry=Registry("http://127.0.0.1:1"))
    cycle.raise_due_alerts(gone)  # looks again next time
    assert len(kinds(unheard)) == before + 1
