"""What people can do in MLflow's pages, and what Mycoflow makes of it."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.errors import ModelLoadError, RegistryStateError, UnknownVersionError
from ml.registry.mlflow_registry import Registry
from ml.registry.mlflow_runs import TRAINING_EXPERIMENT


def client_of(registry: Registry) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(registry._tracking_uri, registry_uri=registry._tracking_uri)


def log_run(registry: Registry, bundle: Path, attempt_id: int) -> str:
    with registry.start_run(attempt_id) as run:
        run.log_model(bundle)
    return run.mlflow_run_id


def experiment_id(registry: Registry) -> str:
    return str(client_of(registry).get_experiment_by_name(TRAINING_EXPERIMENT).experiment_id)


def model_id(registry: Registry, run_id: str) -> str:
    return str(client_of(registry).get_run(run_id).outputs.model_outputs[-1].model_id)


@pytest.fixture
def run_id(registry: Registry, bundle: Path) -> str:
    """Version 1, in production, is the model of this run."""
    run_id = log_run(registry, bundle, 1)
    registry.set_champion(registry.register(run_id, {"attempt_id": "1"}))
    return run_id


def delete_experiment(registry: Registry, _: str) -> None:
    client_of(registry).delete_experiment(experiment_id(registry))


def rename_experiment(registry: Registry, _: str) -> None:
    client_of(registry).rename_experiment(experiment_id(registry), "mine now")


def delete_run(registry: Registry, run_id: str) -> None:
    client_of(registry).delete_run(run_id)


def rename_run(registry: Registry, run_id: str) -> None:
    client_of(registry).update_run(run_id, name="the good one")


def remove_tags(registry: Registry, run_id: str) -> None:
    for tag in ("mycoflow.attempt_id",):
        client_of(registry).delete_tag(run_id, tag)
    client_of(registry).delete_model_version_tag("mycoflow", "1", "attempt_id")


def archive(registry: Registry, _: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client_of(registry).transition_model_version_stage("mycoflow", "1", "Archived")


def delete_logged_model(registry: Registry, run_id: str) -> None:
    client_of(registry).delete_logged_model(model_id(registry, run_id))


HARMLESS = [delete_experiment, rename_experiment, delete_run, rename_run, remove_tags, archive, delete_logged_model]


@pytest.mark.parametrize("touch", HARMLESS)
def test_the_registry_goes_on_after_what_people_can_undo(
    registry: Registry, run_id: str, bundle: Path, tmp_path: Path, touch: Callable[[Registry, str], None]
) -> None:
    touch(registry, run_id)
    assert registry.champion() == 1
    registry.tag_version(1, {"verdict": "promote"})
    assert registry.versions()[0].tags["verdict"] == "promote"
    registry.download(1, tmp_path / "models")
    second = log_run(registry, bundle, 2)
    assert registry.find_run(2) == second
    assert registry.register(second, {}) == 2
    assert registry.register(run_id, {}) == 1


def test_a_deleted_experiment_comes_back_with_its_runs(
    registry: Registry, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    delete_experiment(registry, run_id)
    with registry.start_run(2):
        pass
    assert registry.find_run(1) == run_id
    assert [text for text in caplog.messages if "mycoflow-training was deleted in MLflow" in text]


def test_a_deleted_run_is_said_and_only_its_version_is_tagged(
    registry: Registry, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    delete_run(registry, run_id)
    registry.tag_version(1, {"verdict": "keep"})
    assert f"The run {run_id} was deleted in MLflow, so only its model version is tagged." in caplog.messages
    assert "verdict" not in client_of(registry).get_run(run_id).data.tags


def test_a_run_that_is_deleted_while_it_is_open_says_what_to_do(registry: Registry) -> None:
    with pytest.raises(RegistryStateError, match="restore it there, then try again"), registry.start_run(1) as run:
        delete_run(registry, run.mlflow_run_id)
        run.log_metrics({"accuracy": 1.0})


def test_a_deleted_logged_model_cannot_be_registered_again(registry: Registry, run_id: str, tmp_path: Path) -> None:
    client_of(registry).delete_model_version("mycoflow", "1")
    delete_logged_model(registry, run_id)
    for use in (
        lambda: registry.register(run_id, {}),
        lambda: registry.holds_bundle(run_id),
        lambda: registry.download_logged(run_id, tmp_path),
        lambda: registry.download_foreign(run_id, tmp_path),
    ):
        with pytest.raises(RegistryStateError, match="was deleted in MLflow"):
            use()


def test_a_deleted_version_is_no_champion(registry: Registry, run_id: str, tmp_path: Path) -> None:
    client_of(registry).delete_model_version("mycoflow", "1")
    assert registry.champion() is None
    with pytest.raises(UnknownVersionError, match="mycoflow models"):
        registry.download(1, tmp_path)
    assert registry.register(run_id, {}) == 2


def test_a_removed_alias_is_no_champion(registry: Registry, run_id: str) -> None:
    client_of(registry).delete_registered_model_alias("mycoflow", "production")
    assert registry.champion() is None
    registry.demand_model(1, run_id)


def test_a_renamed_model_is_named_by_its_new_name(registry: Registry, run_id: str) -> None:
    client_of(registry).rename_registered_model("mycoflow", "mushrooms")
    assert registry.champion() is None
    with pytest.raises(RegistryStateError, match="It has the name mushrooms now"):
        registry.demand_model(1, run_id)


def test_a_deleted_model_is_created_again_and_numbers_of_other_runs_are_not_used_again(
    registry: Registry, run_id: str, bundle: Path
) -> None:
    second = log_run(registry, bundle, 2)
    assert registry.register(second, {}) == 2
    client_of(registry).delete_registered_model("mycoflow")
    with pytest.raises(RegistryStateError, match=f"Create it again with `mycoflow register {run_id}`"):
        registry.demand_model(1, run_id)
    known = {1: run_id, 2: second}
    assert registry.register(second, {}, known) == 2
    assert registry.register(log_run(registry, bundle, 3), {}, known) == 3


def test_another_mlflow_is_told_from_a_deleted_model(registry: Registry) -> None:
    for unknown in ("0" * 32, None):
        with pytest.raises(RegistryStateError, match="Set MLFLOW_TRACKING_URI to the right MLflow"):
            registry.demand_model(3, unknown)


def test_a_version_of_another_run_is_refused(registry: Registry, run_id: str) -> None:
    registry.demand_run(1, run_id)
    with pytest.raises(RegistryStateError, match="correct MLFLOW_TRACKING_URI") as refused:
        registry.demand_run(1, "0" * 32)
    assert f"`mycoflow register {run_id}`" in str(refused.value)


def test_a_version_without_a_run_and_without_our_files_says_what_to_do(
    registry: Registry, run_id: str, tmp_path: Path
) -> None:
    created = client_of(registry).create_model_version("mycoflow", (tmp_path / "artifacts").as_uri())
    assert {each.version: each.mlflow_run_id for each in registry.versions()} == {1: run_id, 2: ""}
    with pytest.raises(ModelLoadError, match="mycoflow register"):
        registry.download(int(created.version), tmp_path / "models")


def test_unknown_runs_have_no_classes(registry: Registry) -> None:
    for run_id in ("0" * 32, "../x y"):
        with pytest.raises(UnknownVersionError, match="Expected the id of an MLflow run"):
            registry.read_classes(run_id)


@pytest.fixture
def served_registry(mlflow_server: str) -> Iterator[Registry]:
    yield Registry(mlflow_server)


def test_the_same_holds_over_an_mlflow_server(served_registry: Registry, bundle: Path, tmp_path: Path) -> None:
    registry = served_registry
    run_id = log_run(registry, bundle, 1)
    registry.set_champion(registry.register(run_id, {}))
    for touch in (delete_experiment, delete_run):
        touch(registry, run_id)
        registry.tag_version(1, {"verdict": "promote"})
        with registry.start_run(2):
            pass
    with pytest.raises(RegistryStateError, match="restore it there"), registry.start_run(3) as run:
        delete_run(registry, run.mlflow_run_id)
        run.log_metrics({"accuracy": 1.0})
    client_of(registry).rename_registered_model("mycoflow", "mushrooms")
    with pytest.raises(RegistryStateError, match="It has the name mushrooms now"):
        registry.demand_model(1, run_id)
    client_of(registry).delete_registered_model("mushrooms")
    with pytest.raises(RegistryStateError, match="mycoflow register"):
        registry.demand_model(1, run_id)
    with pytest.raises(RegistryStateError, match="MLFLOW_TRACKING_URI"):
        registry.demand_model(1, "0" * 32)
    delete_logged_model(registry, run_id)
    with pytest.raises(RegistryStateError, match="Train again"):
        registry.register(run_id, {})
    with pytest.raises(UnknownVersionError):
        registry.register("../x y", {})
