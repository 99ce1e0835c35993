"""The DAG folder as Airflow reads it: without an error, quickly, and as the design says."""

from itertools import pairwise
from typing import Any

import pytest

STEPS = ["snapshot", "train", "register", "evaluate", "gate", "promote"]
TRAINING_BUDGET_SECONDS = 30 * 60


def test_every_dag_is_read_without_an_error(described: dict[str, Any]) -> None:
    assert described["import_errors"] == {}
    assert set(described["dags"]) == {"monitor_production", "retrain"}


def test_reading_the_dags_is_quick_and_imports_nothing_heavy(described: dict[str, Any]) -> None:
    assert described["heavy"] == []
    assert all(seconds < 1 for seconds in described["parse_seconds"].values())


@pytest.mark.parametrize("dag_id", ["monitor_production", "retrain"])
def test_a_dag_says_what_it_is_for_and_runs_once_at_a_time(described: dict[str, Any], dag_id: str) -> None:
    dag = described["dags"][dag_id]
    assert dag["doc"].startswith("###")
    assert "mycoflow" in dag["tags"]
    assert (dag["max_active_runs"], dag["catchup"]) == (1, False)
    for name, task in dag["tasks"].items():
        assert task["retries"] == 2, name
        assert task["timeout_seconds"] > 0, name
        assert task["doc"], name


def test_retrain_is_started_by_the_asset_and_takes_its_steps_in_order(described: dict[str, Any]) -> None:
    retrain = described["dags"]["retrain"]
    assert retrain["assets"] == ["retraining_requested"]
    assert retrain["order"] == STEPS
    assert set(map(tuple, retrain["edges"])) >= set(pairwise(STEPS))


def test_training_may_take_its_budget_and_a_margin(described: dict[str, Any]) -> None:
    timeout_seconds = described["dags"]["retrain"]["tasks"]["train"]["timeout_seconds"]
    assert TRAINING_BUDGET_SECONDS < timeout_seconds <= 2 * TRAINING_BUDGET_SECONDS


def test_parameters_of_retrain_have_types_and_bounds(described: dict[str, Any]) -> None:
    params = described["dags"]["retrain"]["params"]
    assert params["snapshot_size"]["type"] == ["null", "integer"]
    assert params["snapshot_size"]["minimum"] == 2
    assert (params["seed"]["type"], params["seed"]["minimum"]) == ("integer", 0)
    assert (params["reason"]["type"], params["reason"]["minLength"]) == ("string", 1)


def test_only_the_task_after_the_short_circuit_emits_the_asset(described: dict[str, Any]) -> None:
    monitor = described["dags"]["monitor_production"]
    assert monitor["order"] == ["monitor", "request_retraining"]
    assert monitor["tasks"]["monitor"]["outlets"] == []
    assert monitor["tasks"]["request_retraining"]["outlets"] == ["retraining_requested"]
