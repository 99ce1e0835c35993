"""SIGKILL of the process that retrains, at any point; then the same request again, as a person would type it.

What goes on is in this process: what the dead one left is all that it has in common with it.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient
from typer.testing import CliRunner

from ml import cycle
from ml.app import Workspace
from ml.catalog.models import attempts
from ml.cli.main import app
from ml.errors import SettingsError
from ml.evaluation import promotion
from ml.registry.mlflow_runs import TRAINING_EXPERIMENT
from ml.reporting.inventory import list_models
from ml.training.recipes import Finetune, Retrain

PARAMETERS = Retrain(snapshot_size=200)
KEY = "crash"

# Runs a retraining and dies: when a step reports that it is through (`train`: that its first epoch is), or right before
# or after a call of a function, where a report would come too early or too late.
DRIVER = """
import importlib, os, signal, sys
import tests.three_layers
from ml import cycle
from ml.training.recipes import Retrain
from ml.app import open_workspace

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def dying(function, when):
    def run(*arguments, **named):
        if when == "before":
            die()
        function(*arguments, **named)
        die()
    return run

when, place = sys.argv[1:]
if when != "step":
    module, _, path = place.partition(":")
    *parents, name = path.split(".")
    owner = importlib.import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, dying(getattr(owner, name), when))

def on_step(step, done, total):
    if when == "step" and step == place and (done == total or step == "train"):
        die()

with open_workspace() as workspace:
    parameters = Retrain(workspace.settings.snapshot_size)
    cycle.retrain(workspace, "crash", "test", parameters, on_step)
"""

# Of every run: a run of MLflow left open. `make test-slow` takes the others too.
QUICK = ("train",)
BETWEEN_THE_LINES = (
    ("after", "ml.registry.mlflow_runs:Run.log_model"),
    ("after", "ml.registry.mlflow_registry:Registry.register"),
    ("before", "ml.registry.mlflow_registry:Registry.set_champion"),
    ("after", "ml.registry.mlflow_registry:Registry.set_champion"),
    ("before", "ml.catalog.models.attempts:finish_attempt"),
)
POINTS = [
    *(pytest.param("step", step, id=step, marks=() if step in QUICK else pytest.mark.slow) for step in cycle.STEPS),
    *(
        pytest.param(when, place, id=f"{when}-{place.rpartition('.')[2].rpartition(':')[2]}", marks=pytest.mark.slow)
        for when, place in BETWEEN_THE_LINES
    ),
]


@pytest.fixture
def environment(filled_workspace: Workspace) -> dict[str, str]:
    """What makes another process open the same deployment."""
    settings = filled_workspace.settings
    assert settings.database_url is not None
    assert settings.mlflow_tracking_uri is not None
    return {
        "MYCOFLOW_HOME": str(settings.mycoflow_home),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MYCOFLOW_BACKBONE": settings.backbone,
        "MYCOFLOW_WEIGHTS": settings.weights,
        "MYCOFLOW_IMAGE_SIZE": str(settings.image_size),
        "MYCOFLOW_MIRRORED_VIEWS": "false",
        "MYCOFLOW_SNAPSHOT_SIZE": str(settings.snapshot_size),
    }


def values(workspace: Workspace, query: str) -> list[object]:
    with workspace.catalog.begin() as connection:
        return list(connection.scalars(sa.text(query)))


def training_runs(workspace: Workspace) -> list[str]:
    """The states of all training runs in MLflow."""
    client = MlflowClient(workspace.settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name(TRAINING_EXPERIMENT)
    assert experiment is not None
    return [run.info.status for run in client.search_runs([experiment.experiment_id])]


@pytest.mark.parametrize(("when", "place"), POINTS)
def test_a_killed_retraining_goes_on_where_it_was(
    filled_workspace: Workspace,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    place: str,
) -> None:
    workspace = filled_workspace
    killed = subprocess.run(
        [sys.executable, "-c", DRIVER, when, place],
        env=os.environ | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    pinned = values(workspace, "SELECT item_id FROM training.snapshot_items ORDER BY 1")
    assert pinned

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):  # the second time there is nothing left to do
        again = CliRunner().invoke(app, ["retrain", "--request-key", KEY])
        assert again.exit_code == 0, (again.output, again.exception)
        assert "In production: version 1." in again.output

    assert values(workspace, "SELECT item_id FROM training.snapshot_items ORDER BY 1") == pinned
    assert values(workspace, "SELECT count(*) FROM training.snapshots") == [1]
    assert values(workspace, "SELECT request_key FROM training.attempts WHERE finished_at IS NOT NULL") == [KEY]
    assert values(workspace, "SELECT decision FROM training.verdicts") == ["promote"]
    assert values(workspace, "SELECT kind FROM training.promotions WHERE completed_at IS NOT NULL") == ["promotion"]
    assert [version.version for version in workspace.registry.versions()] == [1]
    assert "keras_accuracy" in workspace.registry.versions()[0].tags
    states = training_runs(workspace)
    assert (states.count("FINISHED"), states.count("RUNNING")) == (1, 0)


def test_the_alias_that_a_killed_run_moved_stays_where_people_put_it_since(
    filled_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = filled_workspace

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(attempts, "finish_attempt", die)
        cycle.retrain(workspace, KEY, "test", PARAMETERS)
    assert workspace.registry.champion() == 1
    cycle.retrain(workspace, "second", "test", Retrain(snapshot_size=200, seed=3))
    promotion.promote_by_hand(workspace, 2, actor="tester", reason="test")

    assert cycle.retrain(workspace, KEY, "test", PARAMETERS).production_version == 2
    assert values(workspace, "SELECT count(*) FROM training.attempts WHERE finished_at IS NULL") == [0]
    assert len(list_models(workspace)) == 2


def test_the_key_of_another_kind_of_request_is_refused(filled_workspace: Workspace) -> None:
    cycle.take_snapshot(filled_workspace, KEY, "test", PARAMETERS)
    with pytest.raises(SettingsError, match="Continue with `mycoflow retrain`"):
        cycle.take_snapshot(filled_workspace, KEY, "test", Finetune(200, layers=1, epochs=1))
