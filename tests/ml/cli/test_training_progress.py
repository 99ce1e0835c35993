"""The output of the commands that train and register."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ml import cycle
from ml.app import Workspace
from ml.cli.main import app
from ml.ingest.digits import DigitFolders
from ml.ingest.folder import ingest_folder
from ml.training.recipes import Retrain

NEW = "[red]2"  # the name of a class that contains Rich markup

Run = Callable[..., str]


@pytest.fixture
def running(workspace: Workspace, few_digits: DigitFolders, tmp_path: Path) -> Workspace:
    """Version 1 is in production with two digits. Images of a third one have arrived, with markup in its name."""

    def take(source: Path, *digits: str) -> Path:
        target = tmp_path / f"{source.name}-{'-'.join(digits)}"
        for digit in digits:
            shutil.copytree(source / digit, target / (NEW if digit == "2" else digit))
        return target

    ingest_folder(workspace.catalog, take(few_digits.evaluation, "0", "1"), "evaluation")
    ingest_folder(workspace.catalog, take(few_digits.first, "0", "1"), "pool")
    assert cycle.retrain(workspace, "first", "test", Retrain(200)).production_version == 1
    ingest_folder(workspace.catalog, take(few_digits.evaluation, "2"), "evaluation")
    ingest_folder(workspace.catalog, take(few_digits.first, "2"), "pool")
    return workspace


@pytest.fixture
def run(running: Workspace, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `mycoflow ...` on that deployment, with MYCOFLOW_PROMOTION=approve. Returns: the output."""
    settings = running.settings
    assert settings.database_url is not None
    for name, value in {
        "MYCOFLOW_HOME": str(settings.mycoflow_home),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MYCOFLOW_WEIGHTS": "random",
        "MYCOFLOW_IMAGE_SIZE": "32",
        "MYCOFLOW_MIRRORED_VIEWS": "false",
        "MYCOFLOW_MODEL_PRECISION": "fp32",
        "MYCOFLOW_PROMOTION": "approve",
    }.items():
        monkeypatch.setenv(name, str(value))

    def run_command(*arguments: str, **changed: str) -> str:
        for name, value in changed.items():
            monkeypatch.setenv(name, value)
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        return " ".join(result.output.split())

    return run_command


def test_the_output_says_how_to_approve_and_shows_names_with_markup_unchanged(running: Workspace, run: Run) -> None:
    said = run("retrain", "--request-key", "second")
    assert f"The new class {NEW} is recognised well enough" in said
    assert "In production: version 1." in said
    assert "version 2 was not promoted" in said
    assert "`mycoflow promote 2` puts it into production" in said

    mlflow_run_id = running.registry.versions()[0].mlflow_run_id
    assert f"The new class {NEW}" in run("register", mlflow_run_id)

    run("promote", "2")
    assert "not promoted" not in run("retrain", "--request-key", "second")


def test_the_output_says_how_long_a_challenger_stays_in_shadow_and_how_it_is_promoted(
    running: Workspace, run: Run
) -> None:
    for_two_hours = {"MYCOFLOW_PROMOTION": "auto", "MYCOFLOW_SHADOW_HOURS": "2"}
    said = run("retrain", "--request-key", "second", **for_two_hours)
    assert "In production: version 1." in said
    assert "MYCOFLOW_SHADOW_HOURS=2: version 2 answers uploads beside the champion that long." in said
    assert "give --request-key second to promote it" in said
    assert "No user asked about a photo in the last days" in run("shadow", "2")
    assert "In production: version 2." in run("retrain", "--request-key", "second", MYCOFLOW_SHADOW_HOURS="0")
