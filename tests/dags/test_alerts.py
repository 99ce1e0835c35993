"""What Airflow tells of: a step that gave up, with a receiver that does not listen."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import Alert, latest_alerts
from ml.settings import Settings

RunDag = Callable[..., dict[str, Any]]


@pytest.fixture
def night_settings(settings: Settings, mlflow_uri: str, free_tcp_port: int) -> Settings:
    """Alerts go where nobody listens."""
    address = SecretStr(f"json://127.0.0.1:{free_tcp_port}")
    return settings.model_copy(update={"mlflow_tracking_uri": mlflow_uri, "alert_urls": address})


def only_alert(catalog: Catalog) -> Alert:
    with catalog.begin() as connection:
        (alert,) = latest_alerts(connection, 10)
    return alert


def test_a_step_that_gave_up_is_told_once_and_tried_again_without_failing_anything(
    run_dag: RunDag, catalog: Catalog
) -> None:
    failed = run_dag("retrain")
    assert failed["tasks"]["snapshot"] == "failed"
    alert = only_alert(catalog)
    assert (alert.kind, alert.title) == ("retraining_failed", "The step snapshot of retrain failed")
    assert alert.body.startswith("Expected")  # the message of our SnapshotError
    assert failed["run_id"] in alert.body
    tries = alert.tries
    assert tries > 0

    sent = run_dag("send_alerts")
    assert sent["state"] == "success", sent["output"][-6000:]
    assert only_alert(catalog).tries == tries + 1
    assert "Address 1 (json)" in str(only_alert(catalog).last_error)
