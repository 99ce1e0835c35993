"""A home that was moved or copied takes its MLflow files along."""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml.registry.mlflow_registry import Registry
from ml.registry.mlflow_runs import EXPERIMENTS
from ml.registry.moved_files import follow_moved_files

pytestmark = pytest.mark.heavy


@pytest.fixture
def former(tmp_path: Path, mlflow_uri: str) -> Path:
    """A folder of MLflow's files, with one file of one run."""
    root = tmp_path / "old home" / "mlflow"
    with Registry(mlflow_uri, root.as_uri()).run("mycoflow-training", "a run", {}) as run:
        run.log_report("report.json", {"it": "is here"})
    assert len(list(root.rglob("report.json"))) == 1
    return root


def read_report(mlflow_uri: str) -> str:
    from mlflow import MlflowClient
    from mlflow.artifacts import load_text

    client = MlflowClient(mlflow_uri)
    (experiment,) = [each for each in client.search_experiments() if each.name == "mycoflow-training"]
    (run,) = client.search_runs([experiment.experiment_id])
    return str(load_text(f"{run.info.artifact_uri}/report.json"))


@pytest.mark.parametrize("name", ["new", "it's 100% [new] home"])
@pytest.mark.parametrize("is_copied", [False, True], ids=["moved", "copied"])
def test_files_are_found_where_the_home_is_now(
    former: Path, mlflow_uri: str, tmp_path: Path, name: str, is_copied: bool
) -> None:
    root = tmp_path / name / "mlflow"
    shutil.copytree(former, root)
    if is_copied:
        next(former.rglob("report.json")).write_text("of the other home")
    else:
        shutil.rmtree(former)
    follow_moved_files(sa.make_url(mlflow_uri), root.as_uri())
    assert "is here" in read_report(mlflow_uri)
    with Registry(mlflow_uri, root.as_uri()).run("mycoflow-training", "another", {}) as run:
        run.log_report("second.json", {})
    assert len(list(root.rglob("second.json"))) == 1


def make_experiment(mlflow_uri: str, root: Path, name: str) -> None:
    with Registry(mlflow_uri, root.as_uri()).run(name, "a run", {}) as run:
        run.log_report("of-a-person.json", {})


def locations(mlflow_uri: str) -> dict[str, str]:
    from mlflow import MlflowClient

    return {each.name: each.artifact_location for each in MlflowClient(mlflow_uri).search_experiments()}


@pytest.mark.parametrize("name", ["foo", "mycoflow", "mycoflow-training-of-mine", "it's 100% mine"])
@pytest.mark.parametrize("is_gone", [False, True])
def test_files_of_other_peoples_experiments_stay_where_they_are(
    former: Path, mlflow_uri: str, tmp_path: Path, name: str, is_gone: bool
) -> None:
    theirs = tmp_path / "data" / "mlflow"
    make_experiment(mlflow_uri, theirs, name)
    if is_gone:
        shutil.rmtree(theirs)
    root = tmp_path / "new" / "mlflow"
    for home in (former, root):
        if home == root:
            shutil.move(former, root)
        follow_moved_files(sa.make_url(mlflow_uri), home.as_uri())
        assert locations(mlflow_uri)[name] == f"{theirs.as_uri()}/{name}"
        assert locations(mlflow_uri)["mycoflow-training"] == f"{home.as_uri()}/mycoflow-training"
        assert "is here" in read_report(mlflow_uri)


@pytest.mark.parametrize("name", EXPERIMENTS[1:])
def test_a_place_that_a_person_chose_for_our_experiment_is_kept_while_its_files_are_there(
    former: Path, mlflow_uri: str, tmp_path: Path, name: str
) -> None:
    chosen = tmp_path / "it's chosen" / "mlflow"
    make_experiment(mlflow_uri, chosen, name)
    follow_moved_files(sa.make_url(mlflow_uri), former.as_uri())
    assert locations(mlflow_uri)[name] == f"{chosen.as_uri()}/{name}"
    shutil.rmtree(chosen)
    follow_moved_files(sa.make_url(mlflow_uri), former.as_uri())
    assert locations(mlflow_uri)[name] == f"{former.as_uri()}/{name}"


def test_a_home_that_stays_and_one_without_mlflow_are_left_alone(
    former: Path, mlflow_uri: str, catalog_template: str, server_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    follow_moved_files(sa.make_url(mlflow_uri), former.as_uri())
    assert "is here" in read_report(mlflow_uri)
    follow_moved_files(sa.make_url(mlflow_uri).set(database=catalog_template), former.as_uri())
    assert "moved" not in caplog.text
