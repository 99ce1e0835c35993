"""Nights after people changed something in MLflow's pages: each goes on, or ends with an error that says what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml import cycle
from ml.app import Workspace, load_version
from ml.catalog.models import journal
from ml.errors import PromotionError, RegistryStateError
from ml.evaluation import promotion
from ml.evaluation.registering import register_run
from ml.registry.mlflow_registry import Registry
from ml.registry.mlflow_runs import MONITORING_EXPERIMENT, TRAINING_EXPERIMENT
from ml.reporting.inventory import describe_state, list_models
from ml.training.recipes import Retrain
from ml.upkeep.purge import purge_workspace


def client_of(workspace: Workspace) -> Any:
    from mlflow import MlflowClient

    uri = workspace.settings.mlflow_tracking_uri
    return MlflowClient(uri, registry_uri=uri)


def run_id(workspace: Workspace, version: int = 1) -> str:
    return next(each.mlflow_run_id for each in workspace.registry.versions() if each.version == version)


def delete_experiments(workspace: Workspace) -> None:
    client = client_of(workspace)
    for name in (MONITORING_EXPERIMENT, TRAINING_EXPERIMENT):
        client.delete_experiment(client.get_experiment_by_name(name).experiment_id)


def rename_experiments(workspace: Workspace) -> None:
    client = client_of(workspace)
    for name in (MONITORING_EXPERIMENT, TRAINING_EXPERIMENT):
        client.rename_experiment(client.get_experiment_by_name(name).experiment_id, f"old {name}")


def delete_run(workspace: Workspace) -> None:
    client_of(workspace).delete_run(run_id(workspace))


@pytest.mark.parametrize("touch", [delete_experiments, rename_experiments, delete_run])
def test_the_next_night_goes_on(trained: Workspace, touch: Callable[[Workspace], None]) -> None:
    cycle.monitor(trained)
    touch(trained)
    assert cycle.monitor(trained).model_version == 1
    assert cycle.retrain(trained, "after", "test", Retrain(200)).model_version == 2
    assert client_of(trained).get_experiment_by_name(TRAINING_EXPERIMENT).lifecycle_stage == "active"


def test_a_renamed_model_stops_the_night_until_it_is_renamed_back(trained: Workspace) -> None:
    client_of(trained).rename_registered_model("mycoflow", "mushrooms")
    for step in (
        cycle.monitor,
        cycle.measure_drift,
        list_models,
        describe_state,
        promotion.note_external_move,
        lambda workspace: cycle.take_snapshot(workspace, "after", "test", Retrain(200)),
        lambda workspace: promotion.roll_back(workspace, actor="tester", reason="test"),
    ):
        with pytest.raises(RegistryStateError, match="It has the name mushrooms now"):
            step(trained)
    cycle.raise_due_alerts(trained)
    client_of(trained).rename_registered_model("mushrooms", "mycoflow")
    assert cycle.monitor(trained).model_version == 1
    with trained.catalog.begin() as connection:
        assert [move.kind for move in journal.recent_moves(connection, 5)] == ["promotion"]


def test_a_deleted_model_comes_back_under_its_number_with_the_commands_that_the_error_names(trained: Workspace) -> None:
    run = run_id(trained)
    client_of(trained).delete_registered_model("mycoflow")
    with pytest.raises(RegistryStateError, match=f"`mycoflow register {run}`"):
        cycle.monitor(trained)
    assert register_run(trained, run).verdict.model_version == 1
    with pytest.raises(RegistryStateError, match="`mycoflow promote VERSION`"):
        cycle.monitor(trained)
    promotion.promote_by_hand(trained, 1, actor="tester", reason="test")
    assert cycle.monitor(trained).model_version == 1
    assert cycle.retrain(trained, "after", "test", Retrain(200)).model_version == 2


def test_a_lost_model_can_be_started_anew_with_an_empty_one(trained: Workspace, registry: Registry) -> None:
    lost = Workspace(trained.settings, trained.catalog, registry)
    with pytest.raises(RegistryStateError, match="create an empty model with the name mycoflow"):
        cycle.monitor(lost)
    with pytest.raises(RegistryStateError):
        cycle.retrain(lost, "after", "test", Retrain(200))
    assert registry.versions() == []
    with registry._connected_client() as client:
        client.create_registered_model("mycoflow")
    report = cycle.retrain(lost, "anew", "test", Retrain(200))
    assert (report.model_version, report.production_version) == (2, 2)


@pytest.mark.parametrize("deleted", ["alias", "version"])
def test_without_the_alias_the_night_says_which_command_to_give(trained: Workspace, deleted: str) -> None:
    if deleted == "alias":
        client_of(trained).delete_registered_model_alias("mycoflow", "production")
    else:
        client_of(trained).delete_model_version("mycoflow", "1")
    with pytest.raises(RegistryStateError, match=r"versions 1 were in production.*mycoflow promote VERSION"):
        cycle.monitor(trained)
    if deleted == "alias":
        promotion.promote_by_hand(trained, 1, actor="tester", reason="test")
        assert cycle.monitor(trained).model_version == 1


def test_a_rollback_to_a_deleted_version_leaves_everything_and_says_so(judged: Workspace) -> None:
    promotion.promote_by_hand(judged, 2, actor="tester", reason="test")
    client_of(judged).delete_model_version("mycoflow", "1")
    with pytest.raises(PromotionError, match="version 1, which was deleted in MLflow"):
        promotion.roll_back(judged, actor="tester", reason="test")
    assert judged.registry.champion() == 2
    assert not promotion.is_promotion_held(judged.catalog)


def test_the_versions_of_another_mlflow_are_not_taken_for_ours(
    judged: Workspace, registry: Registry, bundle: Path
) -> None:
    for attempt_id in (11, 12, 13, 14):
        with registry.start_run(attempt_id) as run:
            run.log_model(bundle)
        registry.register(run.mlflow_run_id, {"attempt_id": str(attempt_id)})
    registry.set_champion(1)
    settings = judged.settings.model_copy(update={"retention_model_versions": 1})
    elsewhere = Workspace(settings, judged.catalog, registry)
    for step in (
        cycle.monitor,
        lambda workspace: load_version(workspace, 2),
        lambda workspace: promotion.promote_by_hand(workspace, 2, actor="tester", reason="test"),
        lambda workspace: cycle.retrain(workspace, "after", "test", Retrain(200)),
    ):
        with pytest.raises(RegistryStateError, match="correct MLFLOW_TRACKING_URI"):
            step(elsewhere)
    purge_workspace(elsewhere, is_dry_run=False)
    for version in (1, 2, 3, 4):
        registry.download(version, settings.mycoflow_home / "kept")
