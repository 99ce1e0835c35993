"""Write a backup: a folder with the database, the images, the backbones, and MLflow if it is embedded.

catalog.dump    the catalog's database
mlflow.dump     MLflow's database
mlflow/         MLflow's files
store/          the objects that the catalog names
manifest.json   facts about the backup, and the hash of every file

The databases are dumped before the files are copied. Mycoflow always writes a file before the row that names it, so the
backup has a file for every row. Promotions wait while the databases are dumped. A purge cannot run during a backup.
"""

import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from ml.app import Workspace, artifact_root, is_mlflow_embedded, mlflow_uri
from ml.catalog.database import Catalog, head_revision
from ml.catalog.locks import PROMOTION
from ml.catalog.logs.events import write_event
from ml.errors import BackupError, ModelLoadError
from ml.progress import Progress
from ml.upkeep.backup_manifest import FORMAT, Manifest, hash_files, save_manifest
from ml.upkeep.database_dump import dump_database
from ml.upkeep.erasing import finish_erasures
from ml.upkeep.forgetting import lock_upkeep
from ml.upkeep.stored_objects import object_keys

CATALOG_DUMP, MLFLOW_DUMP, MLFLOW_FILES, STORE = "catalog.dump", "mlflow.dump", "mlflow", "store"
COPIERS = 8


def back_up(workspace: Workspace, folder: Path, on_progress: Progress | None = None, actor: str = "backup") -> Manifest:
    """Write a backup, and an event in the audit log. Services may keep running meanwhile.

    Args:
        folder: missing or empty. It appears under this name only when the backup is complete. Only its owner may read
            it, because it contains the hashes of passwords and tokens.
        on_progress: called with (objects copied, objects to copy).
        actor: who makes it, for the audit log.
    Raises: BackupError, the folder is not empty, a tool fails, or the champion's files are elsewhere or damaged;
        CatalogError, a purge or another backup is running; ImageStoreError, an object cannot be read;
        RegistryUnavailableError.
    """
    with lock_upkeep(workspace.catalog):  # first of all, because a running backup may use the same folder
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BackupError(f"Expected an empty or missing folder, got {folder}. Name another one.")
        folder = folder.absolute()
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # the remains of a killed backup
        partial.mkdir(mode=0o700, parents=True)
        try:
            manifest = _write(workspace, partial, on_progress)
            save_manifest(manifest, partial)
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        with workspace.catalog.begin() as connection:
            write_event(connection, "backup.made", actor, {"folder": str(folder), "files": len(manifest.files)})
    finish_erasures(workspace.catalog)
    return manifest


def _write(workspace: Workspace, folder: Path, on_progress: Progress | None) -> Manifest:
    settings, catalog = workspace.settings, workspace.catalog
    has_mlflow = is_mlflow_embedded(settings)
    with catalog.lock(PROMOTION):
        if has_mlflow:
            _demand_files_of_champion(workspace, folder)
        dump_database(catalog.engine.url, folder / CATALOG_DUMP)
        if has_mlflow:
            dump_database(sa.make_url(mlflow_uri(settings)), folder / MLFLOW_DUMP)
    with catalog.begin() as connection:
        keys = object_keys(connection)
    _copy_objects(catalog, keys, folder / STORE, on_progress)
    root = settings.mycoflow_home / "mlflow"
    if has_mlflow and root.exists():
        shutil.copytree(root, folder / MLFLOW_FILES)
    return Manifest(
        format=FORMAT,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        schema_revision=head_revision(),
        mlflow_root=root.as_uri() if has_mlflow else None,
        files=hash_files(folder),
    )


def _demand_files_of_champion(workspace: Workspace, folder: Path) -> None:
    """Refuse a backup without the files of the version in production. Call it while no promotion can run.

    Args: folder, with space for a copy of the files, which is deleted at once.
    Raises: BackupError.
    """
    version = workspace.registry.champion()
    if version is None:
        return
    root, found = artifact_root(workspace.settings), workspace.registry.files_uri(version)
    if not found.startswith(f"{root}/"):
        raise BackupError(
            f"Expected the files of version {version}, which is in production, under {root}, because a backup copies "
            f"that folder. They are at {found}. Register its run again with `mycoflow register`, or train a version "
            "here, and promote that one."
        )
    try:
        with tempfile.TemporaryDirectory(dir=folder) as copies:
            workspace.registry.download(version, Path(copies))
    except ModelLoadError as error:
        raise BackupError(
            f"Expected the files of version {version}, which is in production, as they were registered. {error} "
            "Or promote another version, then back up again."
        ) from error


def _copy_objects(catalog: Catalog, keys: Sequence[str], folder: Path, on_progress: Progress | None) -> None:
    def copy(key: str) -> None:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(catalog.store.get(key))

    with ThreadPoolExecutor(COPIERS) as copiers:
        for done, _ in enumerate(copiers.map(copy, keys), start=1):
            if on_progress:
                on_progress(done, len(keys))
