"""`mycoflow batch ...`: list the batches of images from sources, and decide about waiting ones."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ml.catalog.database import open_catalog
from ml.catalog.images.batches import Batch, FileOutcome, list_batches, load_batch, load_files
from ml.catalog.object_store import ObjectStore
from ml.cli.terminal import catalog_connection, out, person
from ml.data.data_changes import Action, settle_batches
from ml.settings import load_settings

batch_app = typer.Typer(help="Batches of images from the ingestion sources.", no_args_is_help=True)
FILES_SHOWN = 20

Ids = Annotated[list[int], typer.Argument(metavar="ID...", help="Ids of batches.")]


@batch_app.command("list")
def list_all(count: Annotated[int, typer.Option(min=1, help="Number of batches at most.")] = 20) -> None:
    """List the latest batches; batches with images that wait for a decision come first."""
    with catalog_connection() as connection:
        batches = list_batches(connection, count)
    table = Table("batch", "source", "ingested", "files", "rejected", "waiting", "state")
    for batch in batches:
        rejected = batch.counts.get("rejected", 0)
        ingested = batch.ingested_at.strftime("%Y-%m-%d %H:%M")
        figures = (str(sum(batch.counts.values())), f"{rejected} ({batch.reject_share:.0%})", str(batch.waiting))
        table.add_row(str(batch.id), batch.source, ingested, *figures, batch.state)
    out.print(table if batches else "No batch yet. The DAG ingest_images fetches them from MYCOFLOW_INGEST_SOURCES.")


@batch_app.command("show")
def show(
    batch_id: Annotated[int, typer.Argument(metavar="ID")],
    contact_sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the rejects as one picture, a JPEG, to this file.")
    ] = None,
) -> None:
    """Show the outcome of each file of a batch."""
    with open_catalog(load_settings()) as catalog:
        with catalog.begin() as connection:
            batch, files = load_batch(connection, batch_id), load_files(connection, batch_id)
        out.print(f"Batch {batch.id} from {batch.source}: {batch.state}, {batch.waiting} images wait.")
        _print_counts(files)
        _print_rejects([file for file in files if file.outcome == "rejected"])
        if contact_sheet is not None:
            _write_contact_sheet(catalog.store, batch, contact_sheet)


@batch_app.command("certify")
def certify(batch_ids: Ids) -> None:
    """Certify the labels of all waiting images of batches. Most images enter the pool, some the evaluation set."""
    out.print(f"{_decide(batch_ids, 'certify')} images certified.")


@batch_app.command("reject")
def reject(batch_ids: Ids) -> None:
    """Exclude all images of batches for good, also those that were certified. Snapshots do not change."""
    out.print(f"{_decide(batch_ids, 'exclude')} images excluded.")


def _decide(batch_ids: list[int], action: Action) -> int:
    settings = load_settings()
    with open_catalog(settings) as catalog:
        return settle_batches(catalog, batch_ids, action, person(), settings.mirrored_views)


def _write_contact_sheet(store: ObjectStore, batch: Batch, path: Path) -> None:
    if batch.contact_sheet_key is None:
        out.print(f"Batch {batch.id} has no contact sheet, because none of its files was rejected. Wrote nothing.")
        return
    path.write_bytes(store.get(batch.contact_sheet_key))
    out.print(f"Wrote the contact sheet of the rejects to {path}.")


def _print_counts(files: Sequence[FileOutcome]) -> None:
    counts = Counter((file.outcome, file.reason) for file in files)
    for (outcome, reason), count in counts.most_common():
        out.print(f"  {outcome}{f' ({reason})' if reason else ''}: {count}")


def _print_rejects(rejects: Sequence[FileOutcome]) -> None:
    for file in rejects[:FILES_SHOWN]:
        out.print(f"  {file.name}: {file.message}", highlight=False)
    if len(rejects) > FILES_SHOWN:
        out.print(f"  ... and {len(rejects) - FILES_SHOWN} more")
