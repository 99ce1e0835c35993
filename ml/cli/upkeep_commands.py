"""`mycoflow check|purge|backup|restore|maintenance`: upkeep."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.filesize import decimal
from rich.table import Table

from ml import cycle
from ml.app import open_workspace
from ml.catalog.logs import maintenance_mode
from ml.cli.terminal import catalog_connection, out, person, progress
from ml.settings import load_settings
from ml.upkeep.backup import back_up
from ml.upkeep.backup_manifest import Manifest
from ml.upkeep.purge import purge_workspace
from ml.upkeep.restore import restore as restore_backup

upkeep_app = typer.Typer()

Folder = Annotated[Path, typer.Argument(metavar="FOLDER")]


@upkeep_app.command()
def check() -> None:
    """Remove images from the pool that are copies of images in the evaluation set. Snapshots do not change."""
    with open_workspace() as workspace:
        report = cycle.check(workspace, person())
    for sha256, original in report.withdrawn.items():
        out.print(f"{sha256} left the pool: {original} in the evaluation set is a copy of it.", highlight=False)
    out.print(f"{len(report.withdrawn)} images left the pool.")
    if report.marked_evaluations:
        out.print(
            f"{report.marked_evaluations} evaluations are too high: their versions were trained on copies. "
            "They are marked (training.evaluations, learned_copies). Train again with `mycoflow retrain`."
        )


@upkeep_app.command()
def purge(
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without this option, only count.")] = False,
) -> None:
    """Delete data that is older than the settings MYCOFLOW_RETENTION_... allow; a dry run without --yes."""
    with open_workspace() as workspace:
        removals = purge_workspace(workspace, is_dry_run=not yes)
    table = Table("what", "why", "count", "size")
    for removal in removals:
        size = decimal(removal.amount.byte_count) if removal.amount.byte_count else ""
        table.add_row(removal.what, removal.why, str(removal.amount.count), size)
    out.print(table)
    freed = decimal(sum(removal.amount.byte_count for removal in removals))
    out.print(f"{freed} freed." if yes else f"Nothing was deleted. `mycoflow purge --yes` frees {freed}.")


@upkeep_app.command()
def backup(folder: Folder) -> None:
    """Write database, images, backbones and models into a new folder. Services may keep running."""
    with open_workspace() as workspace, progress("Copying objects") as on_progress:
        manifest = back_up(workspace, folder, on_progress, person())
    out.print(f"{len(manifest.files)} files in {folder}.", highlight=False)
    _print_mlflow_note(manifest)


@upkeep_app.command()
def restore(folder: Folder) -> None:
    """Restore a backup folder into an empty deployment."""
    with progress("Checking files") as on_progress:
        manifest = restore_backup(load_settings(), folder, on_progress)
    out.print(f"Restored the state of {manifest.created_at}.", highlight=False)
    _print_mlflow_note(manifest)


@upkeep_app.command()
def maintenance(state: Annotated[Literal["on", "off"], typer.Argument(help="on: refuse predictions.")]) -> None:
    """Refuse predictions, or answer them again. All replicas of the service follow in a second or two."""
    with catalog_connection() as connection:
        maintenance_mode.switch(connection, state == "on", person())
    out.print(f"Maintenance mode is {state}.")


def _print_mlflow_note(manifest: Manifest) -> None:
    if manifest.mlflow_root is None:
        out.print("MLflow is a separate server: back up and restore its database and files on that server.")
