"""Runs of each DAG with the real catalog, MLflow and network, but without the scheduler (see tests/e2e)."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml.app import open_workspace
from ml.catalog.database import Catalog
from ml.catalog.images.batches import list_batches
from ml.catalog.tables import shadow_answers, shadows
from ml.ingest.digits import DigitFolders
from ml.settings import Settings
from tests.ml.dropping import settle
from tests.ml.uploaded_photos import upload

RunDag = Callable[..., dict[str, Any]]
Ingest = Callable[..., None]


def test_each_source_is_ingested_even_if_another_fails(
    run_dag: RunDag, catalog: Catalog, digit_files: DigitFolders, tmp_path: Path
) -> None:
    for digit in ("3", "4"):
        (tmp_path / "drop" / digit).mkdir(parents=True)
        for file in sorted((digit_files.first / digit).iterdir())[:3]:
            shutil.copy(file, tmp_path / "drop" / digit)
    settle(tmp_path / "drop")
    run = run_dag("ingest_images")
    assert run["state"] == "failed", run["output"][-6000:]  # the second source does not exist
    assert "is no folder" in run["output"]
    with catalog.begin() as connection:
        (batch,) = list_batches(connection, 5)
    assert (batch.source, batch.counts) == ((tmp_path / "drop").as_uri(), {"waiting": 6})


def test_monitoring_without_a_model_is_skipped_and_the_log_says_what_to_do(run_dag: RunDag) -> None:
    run = run_dag("monitor_production")
    assert run["state"] == "success", run["output"][-6000:]
    assert run["tasks"].pop("check") == "success"
    assert set(run["tasks"].values()) == {"skipped"}
    assert "mycoflow retrain" in run["output"]


def test_a_first_model_is_promoted_and_enough_new_images_request_retraining(run_dag: RunDag, ingest: Ingest) -> None:
    ingest("evaluation", 0, 4)
    ingest("pool", 0, 25)

    first = run_dag("retrain", reason="the first model")
    assert first["state"] == "success", first["output"][-6000:]
    assert first["tasks"].pop("approval") == "skipped"
    assert set(first["tasks"].values()) == {"success"}
    assert (first["returned"]["register"], first["returned"]["gate"], first["returned"]["promote"]) == (1, "promote", 1)

    quiet = run_dag("monitor_production")
    assert quiet["state"] == "success"
    assert quiet["tasks"] == {
        "check": "success",
        "monitor": "success",
        "measure_drift": "success",
        "index_photos": "success",
        "is_due": "success",
        "request_retraining": "skipped",
    }

    ingest("pool", 25, 5)
    due = run_dag("monitor_production")
    assert due["state"] == "success"
    assert set(due["tasks"].values()) == {"success"}
    assert "50 new images" in due["returned"]["monitor"]


def test_a_second_model_stays_in_shadow_for_its_time_and_answers_uploads(
    run_dag: RunDag, ingest: Ingest, catalog: Catalog, night_settings: Settings
) -> None:
    ingest("evaluation", 0, 4)
    ingest("pool", 0, 25)
    assert run_dag("retrain")["returned"]["promote"] == 1
    photos = sorted(night_settings.mycoflow_home.parent.glob("pool-0/0/*"))[:5]
    with open_workspace(night_settings) as workspace:
        upload(workspace, 1, [photo.read_bytes() for photo in photos])

    waited = run_dag("retrain", {"MYCOFLOW_SHADOW_HOURS": str(10 / 3600)})
    assert waited["state"] == "success", waited["output"][-6000:]
    assert (waited["returned"]["gate"], waited["returned"]["promote"]) == ("promote", 2)
    assert waited["output"].count("Rescheduling task") >= 2, waited["output"]
    with catalog.begin() as connection:
        moved = connection.execute(
            sa.text("SELECT completed_at FROM training.promotions WHERE to_version = 2")
        ).scalar_one()
        (shadow,) = connection.execute(sa.select(shadows)).all()
        answered = connection.scalar(sa.select(sa.func.count()).select_from(shadow_answers))
    assert moved - shadow.started_at >= timedelta(seconds=10)
    assert (shadow.challenger_version, shadow.champion_version, answered) == (2, 1, 5)


# Quick: tests/ml/test_finetune.py; the tasks are those of `retrain`, which runs above.
@pytest.mark.slow
def test_fine_tuning_runs_all_steps_to_a_second_version(run_dag: RunDag, ingest: Ingest) -> None:
    ingest("evaluation", 0, 4)
    ingest("pool", 0, 25)
    assert run_dag("retrain")["state"] == "success"

    asked = {"model_version": 1, "layers": 1, "epochs": 1, "requested_by": "ada"}
    tuned = run_dag("finetune", **asked)
    assert tuned["state"] == "success", tuned["output"][-6000:]
    assert tuned["tasks"].pop("approval") == "skipped"
    assert set(tuned["tasks"].values()) == {"success"}
    assert tuned["returned"]["register"] == 2
    assert tuned["returned"]["gate"] in ("promote", "keep")


# Quick: tests/ml/test_tuning.py; the tasks after the search are those of `retrain`, which runs above.
@pytest.mark.slow
def test_a_search_by_two_workers_ends_in_a_model(run_dag: RunDag, ingest: Ingest) -> None:
    ingest("evaluation", 0, 4)
    ingest("pool", 0, 25)
    tuned = run_dag("tune_hyperparameters", trials=3, workers=2)
    assert tuned["state"] == "success", tuned["output"][-6000:]
    assert (tuned["tasks"]["search"], tuned["tasks"]["choose"]) == ("success", "success")
    assert (tuned["returned"]["register"], tuned["returned"]["promote"]) == (1, 1)


def test_an_error_that_would_repeat_is_not_tried_again(run_dag: RunDag) -> None:
    run = run_dag("retrain")
    assert run["state"] == "failed"
    assert run["tasks"]["snapshot"] == "failed"
    assert run["tries"]["snapshot"] == 1
    assert "SnapshotError" in run["output"]


def test_fine_tuning_without_a_model_says_what_to_do(run_dag: RunDag, ingest: Ingest) -> None:
    ingest("pool", 0, 25)
    run = run_dag("finetune", layers=1, epochs=1)
    assert (run["state"], run["tries"]["snapshot"]) == ("failed", 1)
    assert "mycoflow retrain" in run["output"]
