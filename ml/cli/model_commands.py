"""`mycoflow models|register|shadow|promote|rollback|release`: list model versions, and choose the one in production."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ml.app import open_workspace
from ml.backbones.scales import SCALES
from ml.cli.terminal import out, person, progress
from ml.evaluation.promotion import promote_by_hand, release_promotion, roll_back
from ml.evaluation.registering import ModelDescription, register_run
from ml.evaluation.shadowing.shadow_figures import read_figures
from ml.evaluation.shadowing.shadow_scoring import score_in_shadow
from ml.evaluation.shadowing.shadow_words import describe_shadow, shadow_page
from ml.figures import words_of
from ml.registry.foreign_runs import parse_classes
from ml.reporting.alert_delivery import alerting_workspace
from ml.reporting.inventory import ModelSummary, list_models

model_app = typer.Typer()


@model_app.command()
def register(
    run_id: Annotated[str, typer.Argument(help="An MLflow run that logged an image classifier.")],
    classes: Annotated[
        Path | None,
        typer.Option(
            help="Text file with a class name per line, in the order of outputs; default: the run's tag `classes`."
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            help=f"Scale of the network's input pixels: {', '.join(SCALES)}; default: read from its first layer."
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Side of the square input in pixels, if the network accepts any."),
    ] = None,
) -> None:
    """Register the model of an MLflow run as a version, and print the gate's verdict. Promote nothing."""
    description = ModelDescription(image_size, scale, None if classes is None else parse_classes(classes))
    with open_workspace() as workspace, progress("Scoring") as on_progress:
        registration = register_run(workspace, run_id, description, on_progress)
    verdict = registration.verdict
    for note in registration.notes:
        out.print(note, highlight=False)
    out.print(f"Version {verdict.model_version}: {verdict.decision}.")
    for line in [*verdict.reasons, *verdict.warnings]:
        out.print(f"  {line}")
    out.print(f"Put it into production with `mycoflow promote {verdict.model_version}`.")


@model_app.command()
def shadow(version: Annotated[int, typer.Argument(help="A registered model version, not in production.")]) -> None:
    """Let a version answer the uploads of the last days beside the champion, and print where they differ."""
    with open_workspace() as workspace, progress("Scoring") as on_progress:
        score_in_shadow(workspace, version, on_progress)
        lines = describe_shadow(read_figures(workspace.catalog, workspace.settings.task, version))
        page = shadow_page(workspace.settings, version)
    for line in lines:
        out.print(line, highlight=False)
    if page is not None:
        out.print(f"The photos on which they differ: {page}", highlight=False)


@model_app.command()
def promote(version: Annotated[int, typer.Argument(help="A registered model version.")]) -> None:
    """Put a version into production, even if the gate's verdict is against it."""
    with alerting_workspace() as workspace:
        promote_by_hand(workspace, version, actor=person(), reason="chosen by hand")
    out.print(f"Version {version} is in production.")


@model_app.command()
def rollback() -> None:
    """Put the former version back and hold automatic promotion until `mycoflow release`."""
    with alerting_workspace() as workspace:
        version = roll_back(workspace, actor=person(), reason="rolled back by hand")
    out.print(f"Version {version} is in production. Automatic promotion is held until `mycoflow release`.")


@model_app.command()
def release() -> None:
    """Allow automatic promotion again after a rollback."""
    with open_workspace() as workspace:
        release_promotion(workspace, actor=person(), reason="released by hand")
    out.print("Automatic promotion is on again.")


@model_app.command()
def models() -> None:
    """List the model versions with their state, verdict, main figure and snapshot."""
    with open_workspace() as workspace:
        rows, name = list_models(workspace), words_of(workspace.task.main_figure)
    table = Table("version", "state", "verdict", name, "snapshot", "registered")
    for row in rows:
        figure = "" if row.main_figure is None else f"{row.main_figure:.1%}"
        snapshot = "" if row.snapshot_id is None else str(row.snapshot_id)
        registered = row.registered_at.strftime("%Y-%m-%d %H:%M")
        table.add_row(str(row.version), _state(row), row.verdict, figure, snapshot, registered)
    out.print(table if rows else "No model version yet. Train one with `mycoflow retrain`.")
    for row in rows:
        if row.load_error is not None:
            out.print(f"Version {row.version} does not load: {row.load_error}", highlight=False)


def _state(model: ModelSummary) -> str:
    words = {"in production": model.is_champion, "served": model.is_served, "does not load": model.load_error}
    return ", ".join(word for word, holds in words.items() if holds)
