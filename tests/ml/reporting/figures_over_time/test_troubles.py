"""What the dashboard says is wrong, from events as they are recorded."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from ml.catalog.clock import now
from ml.catalog.database import Catalog
from ml.catalog.images.label_origins import NewImages
from ml.catalog.models.attempts import note_approval_asked, start_attempt
from ml.catalog.models.evaluations import Shortfall, save_monitoring
from ml.catalog.models.journal import complete_move, write_intent
from ml.catalog.models.verdicts import StoredVerdict, save_verdict
from ml.catalog.tables import alerts, evaluation_sets, promotions, served_models, snapshots
from ml.errors import SnapshotError
from ml.reporting.figures_over_time.troubles import Trouble, read_state
from ml.reporting.task_failures import FailedTask, notify_failure
from ml.settings import Settings

AddChampion = Callable[..., None]
SNAPSHOT = (
    sa.insert(snapshots)
    .values(cutoff=sa.func.now(), requested_size=1000, strategy="newest", classes=["a", "b"], pool_state="state")
    .returning(snapshots.c.id)
)
NIGHT = FailedTask("monitor_production", "run-1", "monitor", -1, 3, is_training=False, error=SnapshotError("No pool."))


def find(catalog: Catalog, settings: Settings | None = None) -> dict[str, Trouble]:
    return {each.kind: each for each in read_state(catalog, settings or Settings()).troubles}


def check(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        set_version = connection.execute(sa.select(evaluation_sets.c.version)).scalar_one()
        save_monitoring(connection, 1, set_version, 0.9, [], NewImages(0, 0), [], {})


@pytest.fixture
def well(catalog: Catalog, add_champion: AddChampion) -> Catalog:
    """Version 1 is in production, and was checked."""
    add_champion(1, 0.9)
    check(catalog)
    return catalog


@pytest.fixture
def worker(settings: Settings) -> Settings:
    return settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:1"})


def serve(catalog: Catalog, version: int | None, refused: int | None, error: str | None = None) -> None:
    with catalog.begin() as connection:
        alive = now(connection) + timedelta(hours=1)
        row = {"version": version, "refused_version": refused, "load_error": error, "alive_until": alive}
        connection.execute(sa.insert(served_models).values(process=f"host:{version}:{refused}", **row))


def test_an_empty_installation_and_a_good_night_have_no_trouble(catalog: Catalog, add_champion: AddChampion) -> None:
    state = read_state(catalog, Settings())
    assert (list(state.troubles), state.accuracy, state.first_check) == ([], None, None)
    add_champion(1, 0.9)
    check(catalog)
    state = read_state(catalog, Settings())
    assert list(state.troubles) == []
    assert state.accuracy is not None
    assert state.accuracy.share == 0.9


def test_a_champion_that_does_not_load_comes_first_with_its_error(well: Catalog) -> None:
    serve(well, 1, None)
    assert find(well) == {}
    serve(well, None, 1, "Expected an ONNX file, got a damaged one.")
    settings = Settings(runbook_url="http://guide.example/operations")
    trouble = read_state(well, settings).troubles[0]
    assert (trouble.kind, trouble.version) == ("not_served", 1)
    assert trouble.detail == "Expected an ONNX file, got a damaged one."
    assert trouble.guide == "http://guide.example/operations#championnotserved"


def test_a_failed_night_is_seen_until_a_night_succeeds(well: Catalog, worker: Settings) -> None:
    settings = worker.model_copy(update={"airflow_public_url": "http://airflow.example/"})
    notify_failure(settings, NIGHT)
    trouble = find(well, settings)["task_failed"]
    assert tuple(trouble.names) == ("monitor_production", "monitor")
    assert trouble.runs == "http://airflow.example/dags/monitor_production/runs/run-1/tasks/monitor"
    assert "No pool." in trouble.detail
    assert find(well)["task_failed"].runs is None
    check(well)
    assert find(well) == {}


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "http://airflow.example.evil/", "http://airflow.example@evil/"]
)
def test_the_message_of_an_error_cannot_lead_elsewhere(well: Catalog, worker: Settings, address: str) -> None:
    error = SnapshotError(f"No pool.\nLog: {address}")
    notify_failure(worker, FailedTask("monitor_production", "r", "monitor", -1, 1, is_training=False, error=error))
    settings = Settings(airflow_public_url="http://airflow.example")
    assert find(well, settings)["task_failed"].runs == "http://airflow.example/dag_runs"


def test_a_failure_of_another_dag_stays_for_a_day_and_counts_once(well: Catalog, worker: Settings) -> None:
    for error in (SnapshotError("One."), ValueError("Two.")):
        notify_failure(worker, FailedTask("ingest_images", "r", "fetch", 2, 1, is_training=False, error=error))
    check(well)
    troubles = read_state(well, Settings()).troubles
    assert [tuple(each.names) for each in troubles] == [("ingest_images", "fetch[2]")]
    with well.begin() as connection:
        connection.execute(sa.update(alerts).values(raised_at=now(connection) - timedelta(hours=27)))
    assert find(well) == {}


def test_a_failed_training_and_a_missing_night_are_seen(well: Catalog, worker: Settings) -> None:
    notify_failure(
        worker, FailedTask("retrain", "run", "train", -1, 3, is_training=True, error=SnapshotError("Empty."))
    )
    assert list(find(well)) == ["training_failed"]
    with well.begin() as connection:
        late: datetime = now(connection) - timedelta(hours=27)
        connection.execute(sa.text("UPDATE training.monitorings SET monitored_at = :late"), {"late": late})
        connection.execute(sa.update(promotions).values(completed_at=late))
    found = find(well)
    assert list(found) == ["training_failed", "no_night"]
    assert found["no_night"].at == late


def test_an_approval_that_waits_is_seen_with_its_place(well: Catalog) -> None:
    with well.begin() as connection:
        snapshot_id = connection.execute(SNAPSHOT).scalar_one()
        attempt_id = start_attempt(connection, "one", "test", {}, snapshot_id)
        save_verdict(connection, attempt_id, StoredVerdict(1, None, 1, "promote", ["Better."], [], 0.9, None))
        note_approval_asked(connection, attempt_id)
    settings = Settings(runbook_url="http://guide.example/operations")
    trouble = find(well, settings)["approval"]
    assert (trouble.count, trouble.guide) == (1, "http://guide.example/operations#promotions-that-wait")


def test_a_figure_below_its_floor_and_a_held_promotion_are_seen(catalog: Catalog, add_champion: AddChampion) -> None:
    add_champion(1, 0.5)
    with catalog.begin() as connection:
        complete_move(connection, write_intent(connection, "rollback", 2, 1, "test", "Because."))
    found = find(catalog)
    assert list(found) == ["below_floor", "held"]
    assert found["below_floor"].shortfall == Shortfall(None, 0.5, 0.7)
