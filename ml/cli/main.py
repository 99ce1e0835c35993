"""`mycoflow ...`: all commands. A command parses its arguments, calls ml.cycle or a lower module, and prints."""

import logging
import os
import sys
import tempfile
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ml import cycle
from ml.app import open_workspace
from ml.catalog.database import migrate as migrate_database
from ml.cli.alert_commands import alerts_app
from ml.cli.backbone_commands import backbone_app
from ml.cli.batch_commands import batch_app
from ml.cli.environment_file import init_app
from ml.cli.grafana_commands import grafana_app
from ml.cli.model_commands import model_app
from ml.cli.report_commands import report_app
from ml.cli.snapshot_commands import snapshot_app
from ml.cli.terminal import SafeConsole, SafeFormatter, out, progress, show_controls
from ml.cli.training_progress import run_training
from ml.cli.tuning_commands import tuning_app
from ml.cli.upkeep_commands import upkeep_app
from ml.cli.user_commands import user_app
from ml.data.selection import NEWEST
from ml.errors import MycoflowError, SettingsError, SourceError, SourceUnavailableError
from ml.figures import words_of
from ml.ingest.digits import write_digits
from ml.ingest.folder import IngestReport, ingest_folder
from ml.reporting.alert_delivery import alerting_workspace
from ml.reporting.inventory import describe_state
from ml.settings import load_settings
from ml.training.recipes import LEARNING_RATE, Finetune, Retrain

app = typer.Typer(
    name="mycoflow",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
sample_app = typer.Typer(help="Real images for newcomers; needs no network.", no_args_is_help=True)
app.add_typer(sample_app, name="sample")
app.add_typer(user_app, name="user")
app.add_typer(batch_app, name="batch")
app.add_typer(snapshot_app, name="snapshot")
app.add_typer(grafana_app, name="grafana")
app.add_typer(model_app)
app.add_typer(init_app)
app.add_typer(backbone_app)
app.add_typer(upkeep_app)
app.add_typer(alerts_app)
app.add_typer(report_app)
app.add_typer(tuning_app)

REJECTS_SHOWN = 20
COPIES_SHOWN = 5


class Split(StrEnum):
    """The split of ingested images."""

    pool = "pool"
    evaluation = "evaluation"


def _print_version(is_asked: bool) -> None:
    if is_asked:
        out.print(f"mycoflow {version('mycoflow')}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Retrain and monitor an image classifier. Settings come from the environment and .env."""


def main() -> None:
    """Run the console script. An expected error becomes one message and exit status 1."""
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        app()
    except MycoflowError as error:
        text = Text.assemble(("Error:", "bold red"), f" {show_controls(str(error))}")
        SafeConsole(stderr=True, soft_wrap=True).print(text, highlight=False)
        sys.exit(1)


@app.command()
def ingest(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="One sub-folder per label, images inside.")
    ] = None,
    split: Annotated[
        Split | None, typer.Option(help="pool: for training. evaluation: for measuring only, never trained on.")
    ] = None,
    received_at: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="ISO time with zone; now by default.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="URL", help="A source, as MYCOFLOW_INGEST_SOURCES names it.")
    ] = None,
) -> None:
    """Ingest a folder of labelled images, with --split, or the new files of a --source, as the DAG ingest_images does.

    Report bad files, and ingest all others.
    """
    if source is not None:
        if (folder, split, received_at) != (None, None, None):
            raise typer.BadParameter("expected only --source, got a folder or its options too.")
        _ingest_source(source)
        return
    if folder is None or split is None:
        raise typer.BadParameter("expected DIR and --split, or --source URL.")
    with open_workspace() as workspace, progress("Ingesting") as on_progress:
        mirrored, task = workspace.settings.mirrored_views, workspace.task
        report = ingest_folder(workspace.catalog, folder, split.value, received_at, on_progress, mirrored, task)
    _print_ingest_report(report)


@sample_app.command("digits")
def sample_digits(
    later: Annotated[bool, typer.Option("--later", help="Ingest the other 547 images, as new data.")] = False,
) -> None:
    """Ingest UCI handwritten digits: 250 for evaluation, 1000 for the pool (few 8s and 9s); the rest with --later."""
    with open_workspace() as workspace, tempfile.TemporaryDirectory() as folder:
        digits = write_digits(Path(folder))
        parts = [(digits.later, "pool")] if later else [(digits.evaluation, "evaluation"), (digits.first, "pool")]
        for part, split in parts:
            with progress(f"Ingesting {part.name}") as on_progress:
                mirrored = workspace.settings.mirrored_views
                report = ingest_folder(workspace.catalog, part, Split(split).value, None, on_progress, mirrored)
            _print_ingest_report(report)


@app.command()
def monitor() -> None:
    """Score the model in production, count the new images, and print whether retraining is due."""
    with alerting_workspace() as workspace, progress("Scoring") as on_progress:
        report = cycle.monitor(workspace, on_progress)
        drift = cycle.measure_drift(workspace)
        indexed = cycle.index_photos(workspace)
        figure = words_of(workspace.task.main_figure)
    out.print(
        f"Version {report.model_version}: {figure} {report.main_figure:.1%}, {report.new_images} new images "
        f"({report.harvested_images} harvested)."
    )
    if drift.moved:
        out.print(f"Recent predictions differ from the training data: {', '.join(drift.moved)}.")
    if drift.estimated_accuracy is not None:
        out.print(f"Estimated accuracy on the last {drift.recent_images} predictions: {drift.estimated_accuracy:.1%}.")
    if indexed:
        out.print(f"{indexed} more photos can be shown as similar to others.")
    for reason in report.reasons:
        out.print(f"Retraining is due: {reason}")
    if report.reasons:
        out.print("Run it with `mycoflow retrain`.")


@app.command()
def retrain(
    command: typer.Context,
    snapshot_size: Annotated[
        int | None,
        typer.Option(help="Number of images with newest and balanced; MYCOFLOW_SNAPSHOT_SIZE by default."),
    ] = None,
    selection: Annotated[
        str, typer.Option(help="Pool images: newest, balanced (the newest of each class), all, or since:DATE.")
    ] = str(NEWEST),
    seed: Annotated[int, typer.Option(help="Seed of the initial head, the shuffling and the dropout.")] = 0,
    base_backbone: Annotated[
        bool,
        typer.Option("--base-backbone", help="Use MYCOFLOW_WEIGHTS even if the champion is fine-tuned."),
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for the journal.")] = "asked for on the command line",
    request_key: Annotated[
        str | None, typer.Option(help="Give the key of an interrupted run to continue where it stopped.")
    ] = None,
) -> None:
    """Take a snapshot, train a model, register and evaluate it, and promote it if it passes the gate."""
    with alerting_workspace() as workspace:
        size = workspace.settings.snapshot_size if snapshot_size is None else snapshot_size
        parameters = Retrain(size, seed, base_backbone, selection)
        run_training(command, workspace, request_key, reason, parameters, cycle.STEPS)


@app.command()
def finetune(
    command: typer.Context,
    layers: Annotated[int, typer.Option(help="How many of the last layers of the backbone to train.")],
    epochs: Annotated[int, typer.Option(help="Passes over the training data; the weights of the best one are kept.")],
    learning_rate: Annotated[float, typer.Option(help="Learning rate of Adam.")] = LEARNING_RATE,
    reason: Annotated[str, typer.Option(help="Why, for the journal.")] = "asked for on the command line",
    request_key: Annotated[
        str | None, typer.Option(help="Give the key of an interrupted run to continue where it stopped.")
    ] = None,
) -> None:
    """Fine-tune the last layers of the model in production, and promote the result if it passes the gate."""
    with alerting_workspace() as workspace:
        parameters = Finetune(workspace.settings.snapshot_size, layers, epochs, learning_rate)
        run_training(command, workspace, request_key, reason, parameters, cycle.FINETUNE_STEPS)


@app.command()
def evaluate(
    version: Annotated[int | None, typer.Option(help="A model version; by default the one in production.")] = None,
) -> None:
    """Score a model version on the evaluation set."""
    with open_workspace() as workspace, progress("Scoring") as on_progress:
        evaluations = cycle.evaluate(workspace, version, on_progress)
        figure = words_of(workspace.task.main_figure)
    table = Table(
        "part", "images", figure, "precision", "recall", "F1", title=f"Version {evaluations[0].model_version}"
    )
    for part in evaluations:
        figures = (part.main_figure, part.precision_macro, part.recall_macro, part.f1_macro)
        name = f"{part.part} (decides)" if part.is_deciding else part.part
        table.add_row(name, str(part.image_count), *("" if value is None else f"{value:.3f}" for value in figures))
    out.print(table)


@app.command()
def predict(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="An image.")],
    count: Annotated[int, typer.Option(min=1, help="Number of classes to print, best first.")] = 3,
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="FILE.png",
            dir_okay=False,
            writable=True,
            help="Also write the image to this file, with the regions marked in which the model saw the first class.",
        ),
    ] = None,
) -> None:
    """Classify one image with the model in production. Store nothing."""
    if map_file is not None and (map_file.suffix.lower() != ".png" or not map_file.parent.is_dir()):
        raise typer.BadParameter(f"--map: expected a name that ends in .png, in a folder that exists, got {map_file}.")
    content = file.read_bytes()
    with open_workspace() as workspace:
        version, entries, answer = cycle.predict(workspace, content, count)
        for entry in entries:
            out.print(f"{entry['proba']:6.2f}%  {entry['name']}", highlight=False)
        out.print(f"(version {version})")
        if answer.is_novel:
            out.print(
                f"The image seems to show none of the classes that the model knows: novelty {answer.novelty:.2f}."
            )
        if map_file is not None:
            map_file.write_bytes(cycle.draw_map(workspace, content))
            out.print(f"{map_file} shows where the model saw the first one.", highlight=False, soft_wrap=True)


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Put a TLS proxy in front of any address but loopback.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
) -> None:
    """Run the prediction service."""
    load_settings()  # reports a wrong setting before any worker starts
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    command = [sys.executable, "-m", "gunicorn", "--config", "python:webapi.gunicorn_conf", "--bind", bind]
    os.execv(sys.executable, [*command, "webapi.factory:create_app()"])  # noqa: S606 - replaces this process, no shell


@app.command()
def migrate() -> None:
    """Migrate the database to this release's schema, and set the passwords of its roles."""
    migrate_database(load_settings())
    out.print("The database is up to date.")


@app.command()
def status() -> None:
    """Show the version in production, the pool, the evaluation set and the last nightly check."""
    with open_workspace() as workspace:
        facts = describe_state(workspace)
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        table.add_row(name, value)
    out.print(table)


def _ingest_source(url: str) -> None:
    try:
        with alerting_workspace() as workspace:
            report = cycle.ingest(workspace, url)
    except (SettingsError, SourceError, SourceUnavailableError) as error:
        raise type(error)(str(error).replace("MYCOFLOW_INGEST_SOURCES", "--source")) from error
    if report.batch_ids:
        numbers = " ".join(map(str, report.batch_ids))
        out.print(f"New batches: {numbers}. See `mycoflow batch list`.")
    if report.held_back:
        out.print(f"{report.held_back} files changed in the last minute, and are not taken yet: run it again then.")
    if not report.batch_ids and not report.held_back:
        out.print("The source has no new files.")


def _print_ingest_report(report: IngestReport) -> None:
    out.print(
        f"{report.accepted} accepted, {report.duplicates} already known, {sum(report.rejected.values())} rejected"
    )
    if report.copies:
        out.print(f"  {len(report.copies)} of the accepted images are copies of known images, and join their groups")
    for found in report.copies[:COPIES_SHOWN]:
        out.print(f"  {found.path!r}: a copy of {found.original_id}", highlight=False)
    for label, group in list(report.single_groups.items())[:COPIES_SHOWN]:
        out.print(
            f"  {label!r}: all its images in the pool are in the group {group!r}. A training needs a second group "
            "of each class, because it never divides one.",
            highlight=False,
        )
    for reason, count in sorted(report.rejected.items()):
        out.print(f"  {reason}: {count}")
    for reject in report.rejects[:REJECTS_SHOWN]:
        out.print(f"  {reject.path!r}: {reject.message}", highlight=False)
    if len(report.rejects) > REJECTS_SHOWN:
        out.print(f"  ... and {len(report.rejects) - REJECTS_SHOWN} more")
