"""Purge: count the data that the retention settings allow to delete, and optionally delete it.

Rows are deleted before the files that they name, so a crash may leave files without a row, but never a row without its
file. All items of a snapshot, an evaluation set or the pool, items with a label or feedback, and all versions that were
ever in production stay.
"""

import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ml.app import Workspace, known_runs
from ml.catalog import locks
from ml.catalog.logs.prediction_batches import delete_batch
from ml.catalog.models import journal, model_versions
from ml.catalog.object_store import ObjectStore, archive_key, backbone_key, image_key
from ml.catalog.shadows.shadow_records import count_old_answers, forget_old_shadows
from ml.registry.mlflow_registry import RegisteredVersion
from ml.upkeep import forgetting
from ml.upkeep.erasing import find_unfinished, finish_erasures
from ml.upkeep.forgetting import Amount

FILES_TAG = "files"
PURGED = "purged"
# A younger object stays, because its process may not have written the row that names it yet.
WRITTEN_LATELY = timedelta(hours=1)


@dataclass(frozen=True)
class Removal:
    """One kind of deleted data, and why it may be deleted."""

    what: str
    why: str
    amount: Amount


def purge_workspace(workspace: Workspace, *, is_dry_run: bool) -> list[Removal]:
    """Count the data that the retention settings allow to delete, and delete it unless this is a dry run.

    The service, ingestion and training may keep running meanwhile.

    Raises: CatalogError, another purge or a backup is running; RegistryUnavailableError.
    """
    with forgetting.lock_upkeep(workspace.catalog):
        removals = list(_steps(workspace, is_dry_run))
    if not is_dry_run:
        finish_erasures(workspace.catalog)
    return removals


def _steps(workspace: Workspace, is_dry_run: bool) -> Iterator[Removal]:
    settings = workspace.settings
    older = f"older than {settings.retention_days_logs} days"
    yield Removal("predictions without feedback", older, _purge_predictions(workspace, is_dry_run))
    yield Removal("events", older, _purge_events(workspace, is_dry_run))
    yield Removal("prediction batches", f"{older}, or interrupted", _purge_batches(workspace, is_dry_run))
    decided = f"decided more than {settings.retention_days_images} days ago"
    yield Removal("answers of challengers in shadow", decided, _purge_shadows(workspace, is_dry_run))
    days = f"not asked for in {settings.retention_days_images} days"
    yield Removal("images only predicted", days, _purge_images(workspace, is_dry_run))
    unfinished = "erased by their owners, and not deleted then"
    yield Removal("erased photos", unfinished, _count_erased(workspace))
    newest = f"trained here, never in production, no alias, not of the newest {settings.retention_model_versions}"
    versions, without_files = _purge_versions(workspace, is_dry_run)
    yield Removal("files of model versions", newest, versions)
    yield Removal("local copies of versions", "fetched again when needed", _purge_copies(workspace, is_dry_run))
    why = "used by no model version"
    vectors, files = _purge_backbones(workspace, without_files, is_dry_run)
    yield Removal("feature vectors of backbones", f"{why}, or of a deleted image or text", vectors)
    yield Removal("backbone files", why, files)


def _purge_images(workspace: Workspace, is_dry_run: bool) -> Amount:
    catalog, days = workspace.catalog, workspace.settings.retention_days_images
    if is_dry_run:
        with catalog.begin() as connection:
            return forgetting.forgettable_items(connection, days)
    count = byte_count = 0
    while True:
        with catalog.begin() as connection:
            forgotten = forgetting.forget_items(connection, days)
        if not forgotten.count:
            return Amount(count, byte_count)
        _delete_objects(catalog.store, map(image_key, forgotten.image_bytes))
        count, byte_count = count + forgotten.count, byte_count + sum(forgotten.image_bytes.values())


def _purge_shadows(workspace: Workspace, is_dry_run: bool) -> Amount:
    act = count_old_answers if is_dry_run else forget_old_shadows
    with workspace.catalog.begin() as connection:
        return Amount(act(connection, workspace.settings.retention_days_images))


def _count_erased(workspace: Workspace) -> Amount:
    """Count the photos that `finish_erasures` deletes after the purge."""
    with workspace.catalog.begin() as connection:
        unfinished = find_unfinished(connection)
    return Amount(len(unfinished), sum(unfinished.values()))


def _purge_predictions(workspace: Workspace, is_dry_run: bool) -> Amount:
    act = forgetting.old_predictions if is_dry_run else forgetting.forget_predictions
    with workspace.catalog.begin() as connection:
        return act(connection, workspace.settings.retention_days_logs)


def _purge_events(workspace: Workspace, is_dry_run: bool) -> Amount:
    act = forgetting.old_events if is_dry_run else forgetting.forget_events
    with workspace.catalog.begin() as connection:
        return act(connection, workspace.settings.retention_days_logs)


def _purge_batches(workspace: Workspace, is_dry_run: bool) -> Amount:
    """Delete old batches with their ZIPs. Their predictions have ages of their own."""
    catalog, days = workspace.catalog, workspace.settings.retention_days_logs
    with catalog.begin() as connection:
        batch_ids = forgetting.old_batches(connection, days)
    sizes = [facts.byte_count for facts in map(catalog.store.stat, map(archive_key, batch_ids)) if facts is not None]
    if not is_dry_run:
        for batch_id in batch_ids:
            delete_batch(catalog, batch_id)
    return Amount(len(batch_ids), sum(sizes))


def _unused_versions(workspace: Workspace) -> list[RegisteredVersion]:
    """Return the versions that may be deleted, including those whose files were deleted already."""
    older = workspace.registry.versions()[workspace.settings.retention_model_versions :]
    with workspace.catalog.begin() as connection:
        promoted = journal.versions_ever_in_production(connection)
    runs = known_runs(workspace)  # with another MLflow, a number may mean the version of another deployment
    return [
        each
        for each in older
        if not each.aliases and each.version not in promoted and runs.get(each.version) == each.mlflow_run_id
    ]


def _purge_versions(workspace: Workspace, is_dry_run: bool) -> tuple[Amount, Collection[int]]:
    """Return the amount of deleted files, and the versions without files after that."""
    registry = workspace.registry
    with workspace.catalog.lock(locks.PROMOTION):
        unused = _unused_versions(workspace)
        gone = {each.version for each in unused if each.tags.get(FILES_TAG) == PURGED}
        going = registry.own_files([each.version for each in unused if each.version not in gone])
        amount = Amount(len(going), sum(map(registry.byte_count, set(going.values()))))
        if not is_dry_run:
            for version, files in going.items():
                registry.delete_files(files)
                registry.tag_version(version, {FILES_TAG: PURGED})
    return amount, gone | going.keys()


def _purge_copies(workspace: Workspace, is_dry_run: bool) -> Amount:
    """Delete downloaded versions except the newest and the champion, and remains of interrupted downloads."""
    kept = {each.version for each in workspace.registry.versions()[: workspace.settings.retention_model_versions]}
    kept.add(workspace.registry.champion() or 0)
    folder = workspace.settings.mycoflow_home / "models"
    copies = [path for path in folder.glob("*") if path.is_dir() and _is_old(path) and not _is_kept(path, kept)]
    amount = Amount(len(copies), sum(map(_folder_size, copies)))
    if not is_dry_run:
        for path in copies:
            shutil.rmtree(path)
    return amount


def _is_kept(copy: Path, versions: Collection[int]) -> bool:
    number = copy.name.partition("-")[0]
    return number.isdecimal() and int(number) in versions


def _is_old(path: Path) -> bool:
    return datetime.now(UTC) - datetime.fromtimestamp(path.stat().st_mtime, UTC) >= WRITTEN_LATELY


def _folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _purge_backbones(workspace: Workspace, without_files: Collection[int], is_dry_run: bool) -> tuple[Amount, Amount]:
    """Delete unused backbones and their features, but nothing during a training: its backbone has no version yet."""
    catalog = workspace.catalog
    with catalog.begin() as connection:
        if not is_dry_run:
            locks.lock_pool_for_snapshot(connection)  # no training starts meanwhile
        if forgetting.is_training(connection):
            return Amount(0), Amount(0)
        live = model_versions.backbone_ids(connection, excluded_versions=without_files)
        vectors = forgetting.dead_features(connection, live)
        files = [backbone_key(sha256) for sha256 in forgetting.dead_backbone_files(connection, live)]
        if not is_dry_run:
            forgetting.forget_features(connection, live)
            forgetting.forget_backbones(connection, live)
    sizes = [facts.byte_count for facts in map(catalog.store.stat, files) if facts is not None]
    if not is_dry_run:
        _delete_objects(catalog.store, files)
    return vectors, Amount(len(files), sum(sizes))


def _delete_objects(store: ObjectStore, keys: Iterable[str]) -> None:
    """Delete objects whose rows were deleted, except those that another process has just written again."""
    for key in keys:
        facts = store.stat(key)
        if facts is not None and datetime.now(UTC) - facts.written_at >= WRITTEN_LATELY:
            store.delete(key)
