"""Fine-tuning as a story: from the champion to a version on its own backbone, and what later trainings make of it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from ml import cycle
from ml.app import Workspace, load_version
from ml.catalog.models.model_versions import load_model_version
from ml.errors import NoChampionError, SettingsError, UnknownVersionError
from ml.evaluation import promotion
from ml.reporting.inventory import list_models
from ml.settings import Settings
from ml.training.recipes import Finetune, Retrain, decode_recipe, encode_recipe

RETRAIN = Retrain(snapshot_size=200)
FINETUNE = Finetune(snapshot_size=200, layers=1, epochs=2, learning_rate=1e-4)


@pytest.fixture(autouse=True)
def quick_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """How good the heads are does not matter here."""
    monkeypatch.setattr("ml.tasks.classification.fitting.head_training.MAXIMUM_EPOCHS", 10)


@pytest.fixture
def backbone_id(trained: Workspace) -> Callable[[int], str]:
    def look_up(version: int) -> str:
        with trained.catalog.begin() as connection:
            return load_model_version(connection, version).backbone_id

    return look_up


def tags(workspace: Workspace, version: int) -> dict[str, str]:
    run_id = next(each.mlflow_run_id for each in workspace.registry.versions() if each.version == version)
    return dict(MlflowClient(workspace.settings.mlflow_tracking_uri).get_run(run_id).data.tags)


def count(workspace: Workspace, table: str) -> int:
    with workspace.catalog.begin() as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_a_fine_tuned_backbone_is_kept_until_another_is_asked_for(
    trained: Workspace, backbone_id: Callable[[int], str]
) -> None:
    steps: list[str] = []
    report = cycle.retrain(trained, "tune", "test", FINETUNE, lambda step, _done, _total: steps.append(step))
    assert (report.model_version, report.verdict.champion_version) == (2, 1)
    seen = [*dict.fromkeys(steps)]
    assert seen == [step for step in cycle.FINETUNE_STEPS if step in seen]
    assert {"activations", "tune", "train"} <= set(seen)
    assert backbone_id(2) != backbone_id(1)
    assert tags(trained, 2)["finetuned_from_version"] == "1"
    assert load_version(trained, 2).card.backbone_weights.startswith("finetuned:")
    assert list((trained.settings.mycoflow_home / "activations").iterdir()) == []

    promotion.promote_by_hand(trained, 2, actor="tester", reason="test")
    cycle.retrain(trained, "kept", "test", RETRAIN)
    assert backbone_id(3) == backbone_id(2)

    promotion.promote_by_hand(trained, 2, actor="tester", reason="test")
    cycle.retrain(trained, "base", "test", Retrain(snapshot_size=200, base_backbone=True))
    assert backbone_id(4) == backbone_id(1)


def test_a_run_that_died_goes_on_with_its_snapshot_and_its_activations(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ml.tasks.classification.unfreezing.backbone_tuning.train_tail", die)
        cycle.retrain(trained, "tune", "test", FINETUNE)
    assert len([*(trained.settings.mycoflow_home / "activations").iterdir()]) == 1

    steps: list[str] = []
    report = cycle.retrain(trained, "tune", "test", FINETUNE, lambda step, _done, _total: steps.append(step))
    assert "activations" not in steps
    assert (count(trained, "training.snapshots"), count(trained, "training.attempts")) == (2, 2)
    again = cycle.retrain(trained, "tune", "test", FINETUNE)
    assert again.model_version == report.model_version == 2
    assert [model.version for model in list_models(trained)] == [2, 1]


def test_more_layers_than_the_model_has_are_refused_before_anything_is_pinned(trained: Workspace) -> None:
    with pytest.raises(SettingsError, match=r"layers: expected 1 to 3, .* got 4"):
        cycle.retrain(trained, "tune", "test", replace(FINETUNE, layers=4))
    assert count(trained, "training.snapshots") == 1


def test_the_version_to_start_from_is_pinned_when_it_is_asked_for(settings: Settings) -> None:
    assert FINETUNE.pin(settings, 7).model_version == 7
    named = replace(FINETUNE, model_version=3)
    assert named.pin(settings, 7).model_version == 3
    assert decode_recipe(encode_recipe(named.pin(settings, 7))) == named.pin(settings, 7)


def test_an_unknown_version_cannot_be_fine_tuned(filled_workspace: Workspace) -> None:
    with pytest.raises(UnknownVersionError, match="99"):
        cycle.retrain(filled_workspace, "unknown", "test", Finetune(200, layers=1, epochs=1, model_version=99))


def test_without_a_champion_there_is_nothing_to_fine_tune(filled_workspace: Workspace) -> None:
    with pytest.raises(NoChampionError, match="mycoflow retrain"):
        cycle.retrain(filled_workspace, "tune", "test", FINETUNE)
    assert count(filled_workspace, "training.attempts") == 0


@pytest.mark.parametrize(
    ("layers", "epochs", "learning_rate", "named"),
    [(0, 1, 1e-5, "layers"), (1, 0, 1e-5, "epochs"), (1, 1, 0.0, "learning_rate")],
)
def test_parameters_out_of_range_are_refused(layers: int, epochs: int, learning_rate: float, named: str) -> None:
    with pytest.raises(SettingsError, match=f"{named}: expected"):
        Finetune(200, layers, epochs, learning_rate)
