"""Alerts on failed tasks in Airflow: with a receiver, with a dead receiver, and without a database."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import Alert, latest_alerts
from ml.catalog.tables import training_failures
from ml.reporting.figures_over_time.troubles import Trouble, read_state
from ml.settings import Settings
from stack.environment import settings_environment

RunDag = Callable[..., dict[str, Any]]
AIRFLOW = "https://airflow.example.org"
NOWHERE = Path("/nowhere/at/all")

RUN_ALL = """
import json, sys
from airflow.dag_processing.dagbag import DagBag

runs = {}
for dag_id, dag in DagBag(sys.argv[2]).dags.items():
    for _ in range(2 if dag_id == "send_alerts" else 1):
        run = dag.test(logical_date=None)
        runs.setdefault(dag_id, []).append([run.run_id, str(run.state)])
json.dump({"runs": runs}, open(sys.argv[1], "w"))
"""


@pytest.fixture
def night_settings(settings: Settings, mlflow_uri: str, free_tcp_port: int) -> Settings:
    """Alerts go to an address where nobody listens."""
    address = SecretStr(f"json://127.0.0.1:{free_tcp_port}")
    update = {
        "mlflow_tracking_uri": mlflow_uri,
        "alert_urls": address,
        "airflow_public_url": AIRFLOW,
        "ingest_sources": str(NOWHERE),
    }
    return settings.model_copy(update=update)


def only_alert(catalog: Catalog) -> Alert:
    with catalog.begin() as connection:
        (alert,) = latest_alerts(connection, 10)
    return alert


def shown(catalog: Catalog, settings: Settings) -> Sequence[Trouble]:
    """What the dashboard says is wrong."""
    return read_state(catalog, settings).troubles


def recorded_failures(catalog: Catalog) -> list[tuple[str, str]]:
    """The request key and the step of every recorded failure of a training."""
    query = sa.select(training_failures.c.request_key, training_failures.c.step)
    with catalog.begin() as connection:
        return [(row.request_key, row.step) for row in connection.execute(query)]


def test_a_failed_step_raises_one_alert_and_failed_delivery_does_not_fail_the_task(
    run_dag: RunDag, catalog: Catalog, night_settings: Settings
) -> None:
    failed = run_dag("retrain")
    assert failed["tasks"]["snapshot"] == "failed"
    alert = only_alert(catalog)
    assert (alert.kind, alert.title) == ("retraining_failed", "The step snapshot of retrain failed")
    assert alert.body.startswith("Expected")  # the message of our SnapshotError
    assert failed["run_id"] in alert.body
    assert f"Log: {AIRFLOW}/dags/retrain/runs/manual__" in alert.body
    assert alert.body.endswith("/tasks/snapshot")
    assert recorded_failures(catalog) == [(failed["run_id"], "snapshot")]
    assert [(each.kind, each.runs) for each in shown(catalog, night_settings)] == [
        ("training_failed", f"{AIRFLOW}/dag_runs")
    ]
    tries = alert.tries
    assert tries > 0

    sent = run_dag("send_alerts")
    assert sent["state"] == "success", sent["output"][-6000:]
    assert only_alert(catalog).tries == tries + 1
    assert "Address 1 (json)" in str(only_alert(catalog).last_error)


def test_a_failed_task_outside_trainings_raises_one_alert_a_day(
    run_dag: RunDag, catalog: Catalog, night_settings: Settings
) -> None:
    for _ in range(2):
        failed = run_dag("ingest_images")
        assert failed["state"] == "failed", failed["output"][-6000:]
    alert = only_alert(catalog)
    assert (alert.kind, alert.title) == ("task_failed", "The task ingest of ingest_images failed")
    assert str(NOWHERE) in alert.body
    assert alert.body.endswith("/tasks/ingest/mapped/0")
    (trouble,) = shown(catalog, night_settings)
    assert (trouble.kind, tuple(trouble.names)) == ("task_failed", ("ingest_images", "ingest[0]"))
    assert trouble.runs is not None
    assert alert.body.endswith(f"Log: {trouble.runs}")
    assert recorded_failures(catalog) == []


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A running receiver. Returns: its address, and the alerts that it got."""
    received: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"json://127.0.0.1:{server.server_port}", received
        server.shutdown()


def test_each_failed_dag_raises_one_alert_also_without_the_database(
    in_airflow: Callable[..., dict[str, Any]],
    described: dict[str, Any],
    night_settings: Settings,
    new_database: Callable[[], str],
    webhook: tuple[str, list[dict[str, Any]]],
) -> None:
    address, received = webhook
    update = {
        "database_url": SecretStr(new_database()),
        "alert_urls": SecretStr(address),
    }  # a database without migrations
    played = in_airflow(RUN_ALL, environment=settings_environment(night_settings.model_copy(update=update)))
    assert {state for runs in played["runs"].values() for _, state in runs} == {"failed"}, played["output"][-6000:]
    assert set(played["runs"]) == set(described["dags"])
    for dag_id, runs in played["runs"].items():
        told = [message for message in received if f"of {dag_id} failed" in message["title"]]
        assert len(told) == 1, dag_id  # also for the DAG that ran and failed twice
        assert all("Run `mycoflow migrate`" in message["message"] for message in told)
        assert all(message["type"] == "failure" for message in told)
        assert runs[0][0] in told[0]["message"]
        assert f"Log: {AIRFLOW}/dags/{dag_id}/runs/manual__" in told[0]["message"]
        assert "What to do: docs/operations.md#" in told[0]["message"]
