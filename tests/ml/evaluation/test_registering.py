"""A data scientist's own run becomes a version, and reaches users unseen."""

from pathlib import Path

import pytest

from ml import cycle
from ml.app import Workspace
from ml.backbones.onnx_files import parse
from ml.errors import ModelLoadError, UnknownVersionError
from ml.evaluation.promotion import promote_by_hand
from ml.evaluation.registering import register_run
from ml.reporting.inventory import list_models


def log_run(workspace: Workspace, bundle: Path | None) -> str:
    with workspace.registry.run("my-experiments", "try", {}) as run:
        if bundle is not None:
            run.log_model(bundle)
    return run.mlflow_run_id


def test_a_run_of_any_experiment_is_judged_and_then_served_when_a_person_says_so(trained: Workspace) -> None:
    run_id = log_run(trained, trained.registry.download(1, trained.settings.mycoflow_home / "models"))
    verdict = register_run(trained, run_id).verdict
    assert (verdict.model_version, verdict.champion_version, verdict.decision) == (2, 1, "promote")
    assert verdict.challenger_figure == verdict.champion_figure
    assert register_run(trained, run_id).verdict == verdict
    described = {model.version: (model.is_champion, model.verdict) for model in list_models(trained)}
    assert described == {2: (False, "promote"), 1: (True, "promote")}
    promote_by_hand(trained, 2, actor="tester", reason="test")
    assert trained.registry.champion() == 2
    assert cycle.monitor(trained).model_version == 2


def test_what_is_no_model_of_ours_is_refused_and_registers_nothing(trained: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UnknownVersionError, match="did not"):
        register_run(trained, log_run(trained, None))
    with pytest.raises(UnknownVersionError, match="id of an MLflow run"):
        register_run(trained, "0" * 32)
    good = trained.registry.download(1, trained.settings.mycoflow_home / "models")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in good.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    other = parse((damaged / "model.onnx").read_bytes())
    other.producer_name = "somebody else"
    (damaged / "model.onnx").write_bytes(other.SerializeToString())
    with pytest.raises(ModelLoadError, match="SHA-256"):
        register_run(trained, log_run(trained, damaged))
    assert [model.version for model in list_models(trained)] == [1]
