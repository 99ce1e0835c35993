"""The DAG folder as Airflow parses it: without errors, quickly, and with the intended structure."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from annotated_types import Le

from ml.cycle import INGEST_SECONDS
from ml.settings import Settings
from webapi.api.routes.supervision_routes import FinetuneBody

STEPS = ["snapshot", "train", "register", "evaluate", "gate", "shadow", "ask", "approval", "promote", "index_photos"]
(MOST_SHADOW_HOURS,) = (each.le for each in Settings.model_fields["shadow_hours"].metadata if isinstance(each, Le))
TRAINING_BUDGET_SECONDS = 30 * 60
DECIDE = """
import json, sys
from dags.task_defaults import TASK_DEFAULTS
from ml.errors import ImageStoreError, SnapshotError, StaleChampionError

errors = [ConnectionError("gone"), ImageStoreError("gone"), StaleChampionError("another one"), SnapshotError("empty")]
policy = TASK_DEFAULTS["retry_policy"]
decided = {type(error).__name__: policy.evaluate(error, 1, 2).action.value for error in errors}
open(sys.argv[1], "w").write(json.dumps(decided))
"""


def test_every_dag_is_parsed_without_an_error(described: dict[str, Any]) -> None:
    assert described["import_errors"] == {}
    assert set(described["dags"]) == {
        "finetune",
        "ingest_images",
        "monitor_production",
        "register_model",
        "retrain",
        "send_alerts",
        "tune_hyperparameters",
    }


def test_parsing_the_dags_is_quick_and_imports_nothing_heavy(described: dict[str, Any]) -> None:
    assert described["heavy"] == []
    assert all(seconds < 10 for seconds in described["parse_seconds"].values())


TRAININGS = ["finetune", "retrain", "tune_hyperparameters"]
DAGS = [
    "finetune",
    "ingest_images",
    "monitor_production",
    "register_model",
    "retrain",
    "send_alerts",
    "tune_hyperparameters",
]


@pytest.mark.parametrize("dag_id", DAGS)
def test_a_dag_has_a_description_and_runs_or_trains_once_at_a_time(described: dict[str, Any], dag_id: str) -> None:
    dag = described["dags"][dag_id]
    assert dag["doc"].startswith("###")
    assert "mycoflow" in dag["tags"]
    assert dag["catchup"] is False
    trained = [task["most_at_once"] for name, task in dag["tasks"].items() if name == "train"]
    assert trained == [1] if dag_id in TRAININGS else dag["max_active_runs"] == 1
    for name, task in dag["tasks"].items():
        assert task["retries"] == 2, name
        assert task["timeout_seconds"] > 0, name
        assert task["doc"], name


@pytest.mark.parametrize("dag_id", TRAININGS)
def test_an_unanswered_approval_does_not_block_other_runs(described: dict[str, Any], dag_id: str) -> None:
    dag = described["dags"][dag_id]
    # More runs than can start, by hand and every night, while one waits.
    assert dag["max_active_runs"] >= 10
    assert all(dag["tasks"][step]["most_at_once"] is None for step in STEPS if step != "train")


@pytest.mark.parametrize("dag_id", TRAININGS)
def test_a_challenger_in_shadow_holds_no_worker_and_may_stay_as_long_as_the_setting_allows(
    described: dict[str, Any], dag_id: str
) -> None:
    shadow = described["dags"][dag_id]["tasks"]["shadow"]
    assert shadow["mode"] == "reschedule"
    assert shadow["longest_seconds"] > MOST_SHADOW_HOURS * 3600


def test_every_task_of_every_dag_raises_an_alert_when_it_fails(described: dict[str, Any]) -> None:
    tells = {
        (dag_id, name): task["tells"]
        for dag_id, dag in described["dags"].items()
        for name, task in dag["tasks"].items()
    }
    assert len(tells) > 20
    assert {task for task, callbacks in tells.items() if callbacks != ["notify_failure"]} == set()


def test_retrain_is_started_by_the_asset_and_runs_its_steps_in_order(described: dict[str, Any]) -> None:
    retrain = described["dags"]["retrain"]
    assert retrain["assets"] == ["retraining_requested"]
    assert retrain["order"] == STEPS
    assert set(map(tuple, retrain["edges"])) >= set(pairwise(STEPS))


def test_finetune_is_started_by_hand_and_runs_the_steps_of_retrain(described: dict[str, Any]) -> None:
    finetune, retrain = described["dags"]["finetune"], described["dags"]["retrain"]
    assert finetune["assets"] == []
    assert (finetune["order"], finetune["edges"]) == (retrain["order"], retrain["edges"])


def test_a_search_ends_before_the_steps_of_retrain_train_its_best_head(described: dict[str, Any]) -> None:
    tune, retrain = described["dags"]["tune_hyperparameters"], described["dags"]["retrain"]
    assert tune["assets"] == []
    assert {("snapshot", "search"), ("workers", "search"), ("search", "choose"), ("choose", "train")} <= set(
        map(tuple, tune["edges"])
    )
    after = [edge for edge in retrain["edges"] if edge[0] != "snapshot"]
    assert [edge for edge in tune["edges"] if edge in after] == after


@pytest.mark.parametrize("dag_id", ["finetune", "retrain"])
def test_the_timeout_of_training_is_its_budget_and_a_margin(described: dict[str, Any], dag_id: str) -> None:
    timeout_seconds = described["dags"][dag_id]["tasks"]["train"]["timeout_seconds"]
    assert TRAINING_BUDGET_SECONDS < timeout_seconds <= 2 * TRAINING_BUDGET_SECONDS


def test_parameters_of_retrain_have_types_and_bounds(described: dict[str, Any]) -> None:
    params = described["dags"]["retrain"]["params"]
    assert params["snapshot_size"]["type"] == ["null", "integer"]
    assert params["snapshot_size"]["minimum"] == 2
    assert (params["seed"]["type"], params["seed"]["minimum"]) == ("integer", 0)
    assert (params["reason"]["type"], params["reason"]["minLength"]) == ("string", 1)
    assert params["base_backbone"]["type"] == "boolean"
    assert re.fullmatch(params["selection"]["pattern"], "since:2026-05-01")
    assert not re.fullmatch(params["selection"]["pattern"], "oldest")


def test_parameters_of_finetune_accept_the_requests_of_the_service(described: dict[str, Any]) -> None:
    params = described["dags"]["finetune"]["params"]
    assert set(params) == {"layers", "epochs", "learning_rate", "model_version", "requested_by"}
    layers = FinetuneBody.model_json_schema()["properties"]["variables"]
    epochs = FinetuneBody.model_json_schema()["properties"]["epochs"]
    assert params["layers"]["minimum"] == layers["minimum"]
    assert "maximum" not in params["layers"].keys() | layers.keys()  # the limit depends on the version's backbone
    assert (params["epochs"]["minimum"], params["epochs"]["maximum"]) == (epochs["minimum"], epochs["maximum"])
    assert params["model_version"]["type"] == ["null", "integer"]
    assert (params["learning_rate"]["exclusiveMinimum"], params["learning_rate"]["maximum"]) == (0, 1)


def test_only_the_task_after_the_short_circuit_emits_the_asset(described: dict[str, Any]) -> None:
    monitor = described["dags"]["monitor_production"]
    edges = {
        ("check", "monitor"),
        ("is_due", "request_retraining"),
        ("monitor", "is_due"),
        ("monitor", "measure_drift"),
        ("monitor", "index_photos"),
    }
    assert set(map(tuple, monitor["edges"])) == edges
    assert all(
        monitor["tasks"][name]["outlets"] == [] for name in ("monitor", "measure_drift", "index_photos", "is_due")
    )
    assert monitor["tasks"]["request_retraining"]["outlets"] == ["retraining_requested"]


def test_images_are_ingested_source_by_source(described: dict[str, Any]) -> None:
    ingest_images = described["dags"]["ingest_images"]
    assert ingest_images["order"] == ["sources", "ingest"]
    assert ingest_images["params"] == {}
    assert ingest_images["tasks"]["ingest"]["timeout_seconds"] > INGEST_SECONDS


def test_a_task_is_tried_again_if_that_can_help(in_airflow: Callable[..., dict[str, Any]]) -> None:
    decided = in_airflow(DECIDE)
    tried_again = ["ConnectionError", "ImageStoreError", "StaleChampionError"]
    assert {name: decided[name] for name in (*tried_again, "SnapshotError")} == {
        **dict.fromkeys(tried_again, "retry"),
        "SnapshotError": "fail",
    }
