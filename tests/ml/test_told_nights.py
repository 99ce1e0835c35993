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
from ml.catalog.tables import attempts, images, snapshots
from ml.ingest.digits import DigitFolders
from ml.ingest.folder import ingest_folder
from ml.registry.mlflow_registry import Registry
from ml.reporting.alert_delivery import alerting_workspace
from ml.settings import Settings
from ml.training.training_requests import RetrainParameters

PARAMETERS = RetrainParameters(snapshot_size=200)


@pytest.fixture
def unheard(filled_workspace: Workspace, free_tcp_port: int) -> Settings:
    """Settings of a deployment whose alerts go where nobody listens."""
    address = SecretStr(f"json://127.0.0.1:{free_tcp_port}")
    return filled_workspace.settings.model_copy(update={"alert_urls": address, "review_interval_days": 2})


@pytest.fixture
def trained(unheard: Settings) -> Iterator[Workspace]:
    """Version 1 is in production; it was trained where alerts cannot be sent."""
    with alerting_workspace(unheard) as workspace:
        assert cycle.retrain(workspace, "first", "test", PARAMETERS).production_version == 1
    with alerting_workspace(unheard) as workspace:
        yield workspace


def kinds(workspace: Workspace) -> list[str]:
    with workspace.catalog.begin() as connection:
        return [alert.kind for alert in reversed(latest_alerts(connection, 100))]


def test_nights_go_on_and_tell_each_event_once(trained: Workspace, unheard: Settings, few_digits: DigitFolders) -> None:
    ingest_folder(trained.catalog, few_digits.later, "pool")
    for _ in range(3):
        with alerting_workspace(unheard) as workspace:
            assert cycle.monitor(workspace).new_images == 120
    assert kinds(trained) == ["promoted", "new_images"]
    with trained.catalog.begin() as connection:
        told = latest_alerts(connection, 10)
    assert all(alert.sent_at is None and alert.tries > 0 for alert in told)


def test_a_model_whose_snapshot_is_old_is_reviewed_once(trained: Workspace) -> None:
    assert cycle.monitor(trained).reasons == []
    with trained.catalog.begin() as connection:
        older = snapshots.c.cutoff - sa.text("interval '3 days'")
        connection.execute(sa.update(snapshots).values(cutoff=older, pool_state="of three days ago"))
        connection.execute(sa.update(images).values(entered_pool_at=images.c.entered_pool_at - timedelta(days=4)))
    (reason,) = cycle.monitor(trained).reasons
    assert reason == "3 days since the last training; a review is due every 2."
    cycle.retrain(trained, "review", reason, PARAMETERS)
    assert cycle.monitor(trained).reasons == []


def test_a_training_that_died_is_told_when_its_time_is_over(trained: Workspace) -> None:
    cycle.take_snapshot(trained, "died", "test", PARAMETERS)
    cycle.look_around(trained)
    assert kinds(trained) == ["promoted"]
    with trained.catalog.begin() as connection:
        connection.execute(sa.update(attempts).values(started_at=sa.text("now() - interval '31 minutes'")))
    cycle.look_around(trained)
    cycle.look_around(trained)
    assert kinds(trained) == ["promoted", "retraining_overdue"]


def test_a_model_that_somebody_put_into_production_in_mlflow_is_told(trained: Workspace) -> None:
    cycle.retrain(trained, "second", "test", replace(PARAMETERS, seed=3))
    here = trained.registry.champion()
    trained.registry.set_champion(1 if here == 2 else 2)
    before = len(kinds(trained))
    cycle.look_around(trained)
    assert len(kinds(trained)) == before + 1
    gone = replace(trained, registry=Registry("http://127.0.0.1:1"))
    cycle.look_around(gone)  # looks again next time
    assert len(kinds(trained)) == before + 1
