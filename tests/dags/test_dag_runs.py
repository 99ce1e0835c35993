"""Each DAG really run, against the real catalog, MLflow and network; only the scheduler is missing (see tests/e2e)."""

from collections.abc import Callable
from typing import Any

RunDag = Callable[..., dict[str, Any]]
Ingest = Callable[..., None]


def test_monitoring_without_a_model_is_skipped_and_says_what_to_do(run_dag: RunDag) -> None:
    run = run_dag("monitor_production")
    assert run["state"] == "success", run["output"][-6000:]
    assert run["tasks"] == {"monitor": "skipped", "request_retraining": "skipped"}
    assert "mycoflow retrain" in run["output"]


def test_a_first_model_is_promoted_and_retraining_is_requested_once_enough_images_are_new(
    run_dag: RunDag, ingest: Ingest
) -> None:
    ingest("evaluation", 0, 4)
    ingest("pool", 0, 25)

    first = run_dag("retrain", reason="the first model")
    assert first["state"] == "success", first["output"][-6000:]
    assert set(first["tasks"].values()) == {"success"}
    assert (first["returned"]["register"], first["returned"]["gate"], first["returned"]["promote"]) == (1, "promote", 1)

    quiet = run_dag("monitor_production")
    assert quiet["state"] == "success"
    assert quiet["tasks"] == {"monitor": "success", "request_retraining": "skipped"}

    ingest("pool", 25, 5)
    due = run_dag("monitor_production")
    assert due["state"] == "success"
    assert due["tasks"] == {"monitor": "success", "request_retraining": "success"}
    assert "50 new images" in due["returned"]["monitor"]


def test_fine_tuning_goes_through_all_steps_to_a_second_version(run_dag: RunDag, ingest: Ingest) -> None:
    ingest("evaluation", 0, 4)
    ingest("pool", 0, 25)
    assert run_dag("retrain")["state"] == "success"

    asked = {"model_version": 1, "layers": 1, "epochs": 1, "requested_by": "ada"}
    tuned = run_dag("finetune", **asked)
    assert tuned["state"] == "success", tuned["output"][-6000:]
    assert set(tuned["tasks"].values()) == {"success"}
    assert tuned["returned"]["register"] == 2
    assert tuned["returned"]["gate"] in ("promote", "keep")


def test_an_error_that_would_come_again_is_not_tried_again(run_dag: RunDag) -> None:
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
