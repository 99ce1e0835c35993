"""A backup into a deployment that holds nothing yet."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy as sa

from ml.app import is_mlflow_embedded, mlflow_uri
from ml.catalog.database import create_engine, is_earlier_revision, is_known_revision
from ml.catalog.object_store import open_object_store
from ml.errors import BackupError
from ml.progress import Progress
from ml.settings import Settings
from ml.upkeep.backup import CATALOG_DUMP, COPIERS, MLFLOW_DUMP, MLFLOW_FILES, STORE
from ml.upkeep.backup_manifest import Manifest, check_files, load_manifest
from ml.upkeep.database_dump import create_roles, is_empty, move_uris, restore_database


def restore(settings: Settings, folder: Path, on_progress: Progress | None = None) -> Manifest:
    """Fill the deployment that the settings name from a backup. The catalog comes last, whole or not at all.

    Args: on_progress, called with (files checked, files to check).
    Raises:
        BackupError: the folder is no backup or a damaged one, the deployment holds something, or the database user may
            not create roles; nothing is restored then.
        DatabaseUnavailableError: a database does not answer.
    """
    manifest = load_manifest(folder)
    engine = create_engine(settings)
    engine.dispose()
    _demand_dumps(manifest)
    _check_fit(settings, manifest)
    _demand_empty(settings, engine.url, manifest)
    check_files(folder, manifest, on_progress)
    create_roles(engine.url)  # what may not be allowed comes before anything is restored
    _put_objects(settings, folder / STORE)
    if manifest.mlflow_root is not None:
        _restore_mlflow(settings, folder, manifest.mlflow_root)
    restore_database(engine.url, folder / CATALOG_DUMP)
    return manifest


def _demand_dumps(manifest: Manifest) -> None:
    expected = {CATALOG_DUMP} if manifest.mlflow_root is None else {CATALOG_DUMP, MLFLOW_DUMP}
    missing = sorted(expected - manifest.files.keys())
    if missing:
        raise BackupError(f"Expected a whole backup. Its manifest does not name {', '.join(missing)}. Take another.")


def _check_fit(settings: Settings, manifest: Manifest) -> None:
    if is_earlier_revision(manifest.schema_revision):
        raise BackupError(
            f"Expected a backup of this release or an older one. It was made by an earlier checkout (migration "
            f"{manifest.schema_revision}), whose data cannot be carried over. Restore it with that checkout."
        )
    if not is_known_revision(manifest.schema_revision):
        raise BackupError(
            f"Expected a backup of this release or an older one. Its database is at migration "
            f"{manifest.schema_revision}, which this release does not know. Update Mycoflow first."
        )
    if is_mlflow_embedded(settings) != (manifest.mlflow_root is not None):
        whose = "holds MLflow too: leave MLFLOW_TRACKING_URI empty"
        if manifest.mlflow_root is None:
            whose = "was made beside an MLflow server: set MLFLOW_TRACKING_URI to it"
        raise BackupError(f"Expected the kind of deployment that was backed up. The backup {whose}.")


def _demand_empty(settings: Settings, catalog_url: sa.URL, manifest: Manifest) -> None:
    mlflow_files = settings.mycoflow_home / "mlflow"
    held = [] if is_empty(catalog_url) else ["the catalog's database"]
    if manifest.mlflow_root is not None:
        held += [] if is_empty(sa.make_url(mlflow_uri(settings))) else ["MLflow's database"]
        held += [str(mlflow_files)] if mlflow_files.exists() and any(mlflow_files.iterdir()) else []
    if held:
        raise BackupError(
            f"Expected a deployment that holds nothing yet. Found something in {', '.join(held)}. "
            "Restore into a new MYCOFLOW_HOME, or new databases, before any other command uses them."
        )


def _put_objects(settings: Settings, folder: Path) -> None:
    """Objects lie under the hash of what they are, so one that is there already is the same."""
    store = open_object_store(settings)
    files = [path for path in folder.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(COPIERS) as copiers:
        for _ in copiers.map(lambda path: store.put(path.relative_to(folder).as_posix(), path.read_bytes()), files):
            pass


def _restore_mlflow(settings: Settings, folder: Path, old_root: str) -> None:
    url, root = sa.make_url(mlflow_uri(settings)), settings.mycoflow_home / "mlflow"
    restore_database(url, folder / MLFLOW_DUMP)
    move_uris(url, old_root, root.as_uri())
    if (folder / MLFLOW_FILES).exists():
        shutil.copytree(folder / MLFLOW_FILES, root, dirs_exist_ok=True)
