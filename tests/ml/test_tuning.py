"""Tuning as a story: a search that several processes share, and the best of it as a model version."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient
from typer.testing import CliRunner

from ml import cycle
from ml.app import Workspace
from ml.catalog.models import attempts
from ml.catalog.models.attempts import overdue_requests
from ml.cli.tuning_commands import tuning_app
from ml.errors import SettingsError, TrainingError
from ml.registry.mlflow_runs import TUNING_EXPERIMENT
from ml.settings import Settings
from ml.tasks.classification.fitting import head_fitting
from ml.tasks.registered_tasks import find_task
from ml.training import tuning
from ml.training.recipes import Retrain, Tune
from ml.training.study import open_study
from ml.training.tuning import first_trial

KEY = "search"
FIRST = first_trial(find_task("classification"), Settings.model_construct(head_solver="adam"), may_mirror=False)

# Imports what takes long and says so, and begins when it is told to.
WORKER = """
import sys
import tests.three_layers
from ml import cycle
from ml.app import open_workspace
from ml.backbones.keras_backend import load_keras
from ml.tasks.classification.fitting import head_training

head_training.MAXIMUM_EPOCHS = 12
load_keras()
with open_workspace() as workspace:
    print("ready", flush=True)
    sys.stdin.readline()
    print(cycle.search(workspace, int(sys.argv[1])))
"""

DYING_WORKER = (
    """
import os, signal
from ml.tasks.classification.fitting import head_fitting

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

head_fitting.train_head = die
"""
    + WORKER
)


@pytest.fixture(autouse=True)
def quick_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """How good the heads are does not matter here."""
    monkeypatch.setattr("ml.tasks.classification.fitting.head_training.MAXIMUM_EPOCHS", 12)


def start_search(workspace: Workspace, trials: int) -> int:
    return cycle.take_snapshot(workspace, KEY, "test", Tune(200, trials))


@contextmanager
def study_of(workspace: Workspace) -> Iterator[Any]:
    with open_study(workspace.catalog, KEY, FIRST) as study:
        yield study


def states(workspace: Workspace) -> list[str]:
    with study_of(workspace) as study:
        return [trial.state.name for trial in study.get_trials()]


def worker(workspace: Workspace, script: str, attempt_id: int) -> subprocess.Popen[str]:
    """Another process on the same deployment."""
    settings = workspace.settings
    assert settings.database_url is not None
    environment = {
        **os.environ,
        "MYCOFLOW_HOME": str(settings.mycoflow_home),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri or "",
        "MYCOFLOW_BACKBONE": settings.backbone or "",
        "MYCOFLOW_WEIGHTS": settings.weights,
        "MYCOFLOW_IMAGE_SIZE": str(settings.image_size),
        "MYCOFLOW_MODEL_PRECISION": settings.model_precision,
    }
    command = [sys.executable, "-c", script, str(attempt_id)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_the_best_of_a_search_is_trained_judged_and_promoted(filled_workspace: Workspace) -> None:
    steps: list[str] = []
    parameters = Tune(200, trials=4, seed=3)
    report = cycle.retrain(filled_workspace, KEY, "test", parameters, lambda step, _done, _total: steps.append(step))
    assert (report.model_version, report.production_version) == (1, 1)
    assert [*dict.fromkeys(steps)] == list(cycle.TUNE_STEPS)

    with study_of(filled_workspace) as study:
        assert study.trials[0].params == FIRST
        assert len(study.trials) == 4
        best = tuning.best_trial(study)
    with filled_workspace.catalog.begin() as connection:
        attempt = attempts.find_attempt(connection, KEY)
    assert attempt is not None
    assert (attempt.parameters["kind"], attempt.parameters["hyperparameters"]) == ("tune", best.params)

    client = MlflowClient(filled_workspace.settings.mlflow_tracking_uri)
    trained = client.get_run(str(attempt.mlflow_run_id)).data
    assert float(trained.params["hyperparameter_learning_rate"]) == best.params["learning_rate"]
    assert trained.metrics["validation_accuracy"] == pytest.approx(best.value)
    epochs = client.get_metric_history(str(attempt.mlflow_run_id), "val_loss")
    # The same data, seed and hyperparameters: the same head.
    assert min(epoch.value for epoch in epochs) == pytest.approx(best.user_attrs["validation_loss"], rel=1e-3)

    experiment = client.get_experiment_by_name(TUNING_EXPERIMENT)
    assert experiment is not None
    (searched,) = client.search_runs([experiment.experiment_id])
    assert {file.path for file in client.list_artifacts(searched.info.run_id, "plots")} == {
        "plots/importances.png",
        "plots/parallel_coordinates.png",
    }
    assert searched.data.metrics["trials_complete"] + searched.data.metrics["trials_pruned"] == 4

    again = cycle.retrain(filled_workspace, KEY, "test", parameters)
    assert again.model_version == 1
    assert len(states(filled_workspace)) == 4


def test_two_processes_share_the_trials_of_one_study(filled_workspace: Workspace) -> None:
    attempt_id = start_search(filled_workspace, trials=12)
    workers = [worker(filled_workspace, WORKER, attempt_id) for _ in range(2)]
    for each in workers:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in workers:  # both before either is waited for
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    said = [each.communicate(timeout=200) for each in workers]
    assert [each.returncode for each in workers] == [0, 0], said
    ran = [int(out) for out, _ in said]
    assert sum(ran) in (12, 13)  # both may take what seems the last
    assert min(ran) > 0
    assert set(states(filled_workspace)) <= {"COMPLETE", "PRUNED"}
    with study_of(filled_workspace) as study:
        assert [trial.number for trial in study.get_trials()] == list(range(sum(ran)))


def test_a_trial_that_fails_costs_no_more_than_itself(
    filled_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt_id, train, calls = start_search(filled_workspace, trials=3), head_fitting.train_head, []

    def fail_at_first(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise TrainingError("Expected a finite loss.")
        return train(*arguments)

    monkeypatch.setattr(head_fitting, "train_head", fail_at_first)
    assert cycle.search(filled_workspace, attempt_id) == 3
    assert states(filled_workspace) == ["FAIL", "COMPLETE", "COMPLETE"]
    with study_of(filled_workspace) as study:
        assert study.trials[0].user_attrs["error"] == "TrainingError: Expected a finite loss."
    cycle.choose_hyperparameters(filled_workspace, attempt_id)


def test_a_search_without_any_result_says_why(filled_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TrainingError("Expected a finite loss.")

    monkeypatch.setattr(head_fitting, "train_head", fail)
    with pytest.raises(TrainingError, match=r"None of 2 has one.*Expected a finite loss"):
        cycle.retrain(filled_workspace, KEY, "test", Tune(200, trials=2))


def test_the_trial_of_a_killed_worker_is_given_up_and_the_search_goes_on(
    filled_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.training.study.GRACE_SECONDS", 1)
    attempt_id = start_search(filled_workspace, trials=3)
    killed = worker(filled_workspace, DYING_WORKER, attempt_id)
    killed.communicate("go\n", timeout=200)
    assert killed.returncode < 0
    assert states(filled_workspace) == ["RUNNING"]
    time.sleep(1.5)
    assert cycle.search(filled_workspace, attempt_id) == 2
    assert states(filled_workspace)[0] == "FAIL"
    cycle.choose_hyperparameters(filled_workspace, attempt_id)


def test_a_search_looks_at_no_image_of_the_evaluation_set(filled_workspace: Workspace) -> None:
    cycle.search(filled_workspace, start_search(filled_workspace, trials=1))
    query = "SELECT DISTINCT split FROM training.features JOIN training.items ON part_sha256 = image_sha256"
    with filled_workspace.catalog.begin() as connection:
        assert list(connection.scalars(sa.text(query))) == ["pool"]


def test_a_long_search_is_no_overdue_retraining(filled_workspace: Workspace) -> None:
    start_search(filled_workspace, trials=1)
    cycle.take_snapshot(filled_workspace, "slow", "test", Retrain(200))
    with filled_workspace.catalog.begin() as connection:
        assert overdue_requests(connection, minutes=0) == ["slow"]


def test_the_command_searches_trains_and_says_how_it_ended(
    filled_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def opened() -> Iterator[Workspace]:
        yield filled_workspace

    monkeypatch.setattr("ml.cli.tuning_commands.alerting_workspace", opened)
    ended = CliRunner().invoke(tuning_app, ["--trials", "2", "--request-key", KEY], catch_exceptions=False)
    assert ended.exit_code == 0
    assert len(states(filled_workspace)) == 2
    with filled_workspace.catalog.begin() as connection:
        attempt = attempts.find_attempt(connection, KEY)
    assert attempt is not None
    assert attempt.model_version == 1
    assert json.dumps(attempt.parameters)


def test_a_search_of_no_trials_is_refused() -> None:
    with pytest.raises(SettingsError, match="trials: expected 1 or more"):
        Tune(200, trials=0)
