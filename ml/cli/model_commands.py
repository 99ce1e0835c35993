"""`mycoflow models|register|promote|rollback|release`: which model version is in production."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ml.app import open_workspace
from ml.cli.terminal import out, person, progress
from ml.evaluation.promotion import promote_by_hand, release_promotion, roll_back
from ml.evaluation.registering import register_run
from ml.reporting.alert_delivery import alerting_workspace
from ml.reporting.inventory import ModelSummary, list_models

model_app = typer.Typer()


@model_app.command()
def register(run_id: Annotated[str, typer.Argument(help="An MLflow run that logged a model of ours.")]) -> None:
    """Make a version of any MLflow run, and say what the gate thinks of it. Nothing is promoted."""
    with open_workspace() as workspace, progress("Scoring") as on_progress:
        verdict = register_run(workspace, run_id, on_progress)
    out.print(f"Version {verdict.model_version}: {verdict.decision}.")
    for line in [*verdict.reasons, *verdict.warnings]:
        out.print(f"  {escape(line)}")
    out.print(f"Put it into production with `mycoflow promote {verdict.model_version}`.")


@model_app.command()
def promote(version: Annotated[int, typer.Argument(help="A registered model version.")]) -> None:
    """Put a version into production, whatever the gate said of it."""
    with alerting_workspace() as workspace:
        promote_by_hand(workspace, version, actor=person(), reason="chosen by hand")
    out.print(f"Version {version} is in production.")


@model_app.command()
def rollback() -> None:
    """Put the former version back and hold automatic promotion until `mycoflow release`."""
    with alerting_workspace() as workspace:
        version = roll_back(workspace, actor=person(), reason="rolled back by hand")
    out.print(f"Version {version} is in production. Automatic promotion is held; `mycoflow release` lets it go on.")


@model_app.command()
def release() -> None:
    """Let automatic promotion go on after a rollback."""
    with open_workspace() as workspace:
        release_promotion(workspace, actor=person(), reason="released by hand")
    out.print("Automatic promotion goes on.")


@model_app.command()
def models() -> None:
    """List the model versions: in production or served, verdict, accuracy, snapshot."""
    with open_workspace() as workspace:
        rows, name = list_models(workspace), workspace.task.main_figure.replace("_", " ")
    table = Table("version", "state", "verdict", name, "snapshot", "registered")
    for row in rows:
        figure = "" if row.main_figure is None else f"{row.main_figure:.1%}"
        snapshot = "" if row.snapshot_id is None else str(row.snapshot_id)
        registered = row.registered_at.strftime("%Y-%m-%d %H:%M")
        table.add_row(str(row.version), _state(row), escape(row.verdict), figure, snapshot, registered)
    out.print(table if rows else "No model version yet. Train one with `mycoflow retrain`.")
    for row in rows:
        if row.load_error is not None:
            out.print(f"Version {row.version} does not load: {row.load_error}", highlight=False, markup=False)


def _state(model: ModelSummary) -> str:
    words = {"in production": model.is_champion, "served": model.is_served, "does not load": model.load_error}
    return ", ".join(word for word, holds in words.items() if holds)
