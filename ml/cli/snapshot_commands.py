"""`mycoflow snapshot ...`: list, show, compare and export snapshots, which hold the training data of models."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ml.catalog.database import open_catalog
from ml.catalog.snapshots.snapshot_contents import (
    Member,
    SnapshotDiff,
    SnapshotSummary,
    compare_members,
    list_snapshots,
    load_members,
    summarise_snapshot,
)
from ml.cli.terminal import catalog_connection, out, progress
from ml.data.snapshot_export import export_snapshot
from ml.settings import load_settings

snapshot_app = typer.Typer(help="Snapshots: the data that models were trained on.", no_args_is_help=True)

SnapshotId = Annotated[int, typer.Argument(help="Id of a snapshot: see `mycoflow snapshot list`.")]
_ORIGINS = ("curated", "confirmed", "harvested")
_FOLDS = ("train", "validation")


@snapshot_app.command("list")
def list_all() -> None:
    """List the snapshots, the newest first."""
    with catalog_connection() as connection:
        stored = list_snapshots(connection)
    table = Table("snapshot", "taken", "selection", "images", "train", "validation", "classes", "versions")
    for each in stored:
        counts = (each.train + each.validation, each.train, each.validation, len(each.classes))
        taken = f"{each.cutoff:%Y-%m-%d %H:%M}"
        table.add_row(str(each.id), taken, each.selection, *map(str, counts), _versions(each))
    out.print(table if stored else "No snapshot yet. `mycoflow retrain` takes one.")


@snapshot_app.command()
def show(snapshot_id: SnapshotId) -> None:
    """Show a snapshot's contents: images per class, fold and label origin, and the age of the images."""
    with catalog_connection() as connection:
        summary = summarise_snapshot(connection, snapshot_id)
        members = load_members(connection, snapshot_id)
    table = Table("class", "images", *_FOLDS, *_ORIGINS)
    for label, of_class in groupby(members, key=lambda member: member.annotation.label):  # sorted by class
        table.add_row(label, *_figures(list(of_class)))
    table.add_section()
    table.add_row("all", *_figures(members))
    out.print(f"{_title(summary)} of {summary.requested_size} requested. Versions: {_versions(summary) or 'none'}.")
    out.print(table)
    out.print(f"Arrived {_age(members)}.")


@snapshot_app.command()
def diff(
    first: Annotated[int, typer.Argument(help="The snapshot to compare with.")],
    second: Annotated[int, typer.Argument(help="The snapshot to describe.")],
    images: Annotated[
        bool, typer.Option("--images", help="List each image that was added, removed or relabelled.")
    ] = False,
) -> None:
    """Show the changes between two snapshots: classes, label origins, age, and images added and removed."""
    with catalog_connection() as connection:
        heads = [summarise_snapshot(connection, each) for each in (first, second)]
        before, after = (load_members(connection, each) for each in (first, second))
    changes = compare_members(before, after)
    for head, members in zip(heads, (before, after), strict=True):
        out.print(f"{_title(head)}. Arrived {_age(members)}.")
    kept = len(after) - len(changes.added)
    out.print(
        f"{len(changes.added)} images added, {len(changes.removed)} removed, {kept} kept, "
        f"{len(changes.relabelled)} of them relabelled."
    )
    names = [f"snapshot {head.id}" for head in heads]
    out.print(_compare("class", names, before, after, changes, lambda member: member.annotation.label))
    out.print(_compare("labelled", names, before, after, changes, lambda member: member.label_origin))
    if images:
        _print_images(changes)


@snapshot_app.command()
def export(
    snapshot_id: SnapshotId,
    target: Annotated[Path, typer.Argument(metavar="DIR|FILE.zip", help="A path that does not exist yet.")],
) -> None:
    """Write a snapshot's images by fold and class, with a manifest of hashes, texts, labels and origins."""
    with open_catalog(load_settings()) as catalog, progress("Exporting") as on_progress:
        count = export_snapshot(catalog, snapshot_id, target, on_progress)
    out.print(f"{count} items of snapshot {snapshot_id} are in {target}.", highlight=False)


def _title(summary: SnapshotSummary) -> str:
    count = summary.train + summary.validation
    return f"Snapshot {summary.id}, taken {summary.cutoff:%Y-%m-%d %H:%M}, {summary.selection}: {count} images"


def _versions(summary: SnapshotSummary) -> str:
    return ", ".join(map(str, summary.model_versions))


def _figures(members: Sequence[Member]) -> list[str]:
    folds = Counter(member.fold for member in members)
    origins = Counter(member.label_origin for member in members)
    counts = [*(folds[fold] for fold in _FOLDS), *(origins[origin] for origin in _ORIGINS)]
    return [str(count) for count in (len(members), *counts)]


def _age(members: Sequence[Member]) -> str:
    days = sorted(member.received_at.date() for member in members)
    return f"{days[0]} to {days[-1]}, half of them up to {days[(len(days) - 1) // 2]}"


def _compare(
    what: str,
    names: Sequence[str],
    before: Sequence[Member],
    after: Sequence[Member],
    changes: SnapshotDiff,
    key: Callable[[Member], str],
) -> Table:
    counts = [Counter(map(key, members)) for members in (before, after, changes.added, changes.removed)]
    table = Table(what, *names, "added", "removed")
    for name in sorted(set(counts[0]) | set(counts[1])):
        table.add_row(name, *(str(count[name]) for count in counts))
    return table


def _print_images(changes: SnapshotDiff) -> None:
    lines = [
        *(f"+ {member.item_id} {member.annotation.label}" for member in changes.added),
        *(f"- {member.item_id} {member.annotation.label}" for member in changes.removed),
        *(f"~ {old.item_id} {old.annotation.label} -> {new.annotation.label}" for old, new in changes.relabelled),
    ]
    for line in lines:
        out.print(line, highlight=False, soft_wrap=True)
