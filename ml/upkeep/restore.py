"""Restore a backup into an empty deployment."""

import fcntl
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from ml.app import is_mlflow_embedded, mlflow_uri
from ml.catalog.database import create_engine, is_earlier_revision, is_known_revision
from ml.catalog.home_choices import has_unfinished_restore, unfinished_restore
from ml.catalog.object_store import open_object_store
from ml.errors import BackupError, MycoflowError
from ml.progress import Progress
from ml.settings import Settings
from ml.upkeep.backup import CATALOG_DUMP, COPIERS, MLFLOW_DUMP, MLFLOW_FILES, STORE
from ml.upkeep.backup_manifest import Manifest, check_files, load_manifest
from ml.upkeep.database_dump import create_roles, empty_database, is_empty, move_uris, restore_database


def restore(settings: Settings, folder: Path, on_progress: Progress | None = None) -> Manifest:
    """Restore a backup into the deployment of the settings, whole or not at all.

    After an error, what was restored is deleted. If the restore is killed, a marker stays in the home: other commands
    refuse the home, and the next restore deletes what this one left. Objects in the store may stay; they harm nothing.

    Args: on_progress, called with (files checked, files to check).
    Raises:
        BackupError: the folder is not a complete backup, the deployment is not empty, or a tool fails. In these cases
            nothing is restored.
        DatabaseUnavailableError: a database does not answer.
    """
    manifest = load_manifest(folder)
    engine = create_engine(settings)
    engine.dispose()
    _demand_dumps(manifest)
    _check_compatible(settings, manifest)
    was_killed = has_unfinished_restore(settings)
    if not was_killed:
        _demand_empty(settings, engine.url, manifest)
    check_files(folder, manifest, on_progress)
    create_roles(engine.url)  # may be forbidden, so it comes before all that writes data
    with _mark(settings) as marker:
        if was_killed:
            _undo(settings, engine.url, manifest)
        try:
            _write(settings, engine.url, folder, manifest)
        except BaseException:
            _undo(settings, engine.url, manifest)
            marker.unlink()
            raise
        marker.unlink()
    return manifest


@contextmanager
def _mark(settings: Settings) -> Iterator[Path]:
    """Mark the home as being restored, and keep other restores out of it. The caller deletes the mark.

    Yields: the file that is the mark.
    Raises: BackupError, another restore is running.
    """
    path = unfinished_restore(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupError(f"Expected one restore into {settings.mycoflow_home}. Another one is running.") from error
        yield path


def _write(settings: Settings, catalog_url: sa.URL, folder: Path, manifest: Manifest) -> None:
    try:
        _put_objects(settings, folder / STORE)
        if manifest.mlflow_root is not None:
            _restore_mlflow(settings, folder, manifest.mlflow_root)
    except OSError as error:
        if isinstance(error, MycoflowError):
            raise
        raise BackupError(
            f"Expected to copy the backup's files into {settings.mycoflow_home}. Received: {error}. Nothing was "
            "restored. Make room, or make the folder writable, then restore again."
        ) from error
    restore_database(catalog_url, folder / CATALOG_DUMP)


def _undo(settings: Settings, catalog_url: sa.URL, manifest: Manifest) -> None:
    """Delete what a restore has written into a deployment that was empty before."""
    empty_database(catalog_url)
    if manifest.mlflow_root is not None:
        empty_database(sa.make_url(mlflow_uri(settings)))
        shutil.rmtree(settings.mycoflow_home / "mlflow", ignore_errors=True)


def _demand_dumps(manifest: Manifest) -> None:
    expected = {CATALOG_DUMP} if manifest.mlflow_root is None else {CATALOG_DUMP, MLFLOW_DUMP}
    missing = sorted(expected - manifest.files.keys())
    if missing:
        raise BackupError(
            f"Expected a complete backup. Its manifest does not name {', '.join(missing)}. Use another backup."
        )


def _check_compatible(settings: Settings, manifest: Manifest) -> None:
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
        advice = "contains MLflow too: leave MLFLOW_TRACKING_URI empty"
        if manifest.mlflow_root is None:
            advice = "was made with a separate MLflow server: set MLFLOW_TRACKING_URI to that server"
        raise BackupError(f"Expected the kind of deployment that was backed up. The backup {advice}.")


def _demand_empty(settings: Settings, catalog_url: sa.URL, manifest: Manifest) -> None:
    mlflow_files = settings.mycoflow_home / "mlflow"
    held = [] if is_empty(catalog_url) else ["the catalog's database"]
    if manifest.mlflow_root is not None:
        held += [] if is_empty(sa.make_url(mlflow_uri(settings))) else ["MLflow's database"]
        held += [str(mlflow_files)] if mlflow_files.exists() and any(mlflow_files.iterdir()) else []
    if held:
        raise BackupError(
            f"Expected an empty deployment. Found data in {', '.join(held)}. "
            "Restore into a new MYCOFLOW_HOME, or new databases, before any other command uses them."
        )


def _put_objects(settings: Settings, folder: Path) -> None:
    """Copy objects into the store. An object's key contains its hash, so an object that exists already is equal."""
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
