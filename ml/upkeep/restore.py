"""Restore a backup into an empty deployment."""

import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import sqlalchemy as sa

from ml.app import is_mlflow_embedded, mlflow_uri
from ml.catalog.database import create_engine, is_earlier_revision, is_known_revision
from ml.catalog.home_choices import unfinished_restore
from ml.catalog.object_store import open_object_store
from ml.errors import BackupError, MycoflowError
from ml.progress import Progress
from ml.settings import Settings
from ml.upkeep.backup import CATALOG_DUMP, COPIERS, MLFLOW_DUMP, MLFLOW_FILES, STORE
from ml.upkeep.backup_manifest import Manifest, check_files, load_manifest
from ml.upkeep.database_dump import (
    create_roles,
    empty_database,
    has_mark,
    hold_database,
    is_empty,
    mark_database,
    move_uris,
    restore_database,
    unmark_database,
)

logger = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class _Target:
    """The empty places that a restore fills.

    Args: mlflow, None if MLflow is a separate server; files, the folder of an embedded MLflow's files.
    """

    catalog: sa.URL
    mlflow: sa.URL | None
    files: Path

    @property
    def databases(self) -> dict[str, sa.URL]:
        """Return the databases by their names for people."""
        found = {"the catalog's database": self.catalog}
        return found if self.mlflow is None else {**found, "MLflow's database": self.mlflow}


def restore(settings: Settings, folder: Path, on_progress: Progress | None = None) -> Manifest:
    """Restore a backup into the deployment of the settings, whole or not at all.

    From its first check to its end, a restore locks the home and the databases, and a marker is in the home: other
    commands refuse the home. Before it fills a database, it marks the database too. After an error, what was restored
    is deleted, and only that. If the restore is killed, the marker stays, and the next restore deletes what has the
    marks of this one. Objects in the store may stay; they harm nothing.

    Args: on_progress, called with (files checked, files to check).
    Raises:
        BackupError: the folder is not a complete backup, the deployment is not empty, another restore is running, or a
            tool fails. In these cases nothing is restored.
        DatabaseUnavailableError: a database does not answer.
    """
    manifest = load_manifest(folder)
    _demand_dumps(manifest)
    _check_compatible(settings, manifest)
    engine = create_engine(settings)
    engine.dispose()
    mlflow = None if manifest.mlflow_root is None else sa.make_url(mlflow_uri(settings))
    target = _Target(engine.url, mlflow, settings.mycoflow_home / "mlflow")
    with _translated_errors(settings), ExitStack() as stack:
        marker = stack.enter_context(_hold_home(settings))
        sessions = [stack.enter_context(hold_database(url)) for url in target.databases.values()]
        remains = _read_id(marker)
        _demand_empty(target, remains)
        check_files(folder, manifest, on_progress)
        create_roles(target.catalog)  # may be forbidden, so it comes before all that writes data
        if remains is not None:
            _undo(target, remains)
        _demand_empty(target, None)  # again: checking took long, and MLflow's own programs know nothing of these locks
        restore_id = secrets.token_hex(8)
        marker.write_text(restore_id)
        try:
            for session in sessions:
                mark_database(session, restore_id)
            _write(settings, target, folder, manifest, restore_id)
        except BaseException:
            with _logged_errors(
                "What the restore wrote is still there. Run `mycoflow restore` again, which deletes it"
            ):
                _undo(target, restore_id)
                marker.write_text("")
            raise
        marker.unlink()  # from here on, the restore is complete
        for url in target.databases.values():
            with _logged_errors(f"The table restore_{restore_id} is still in {url.database}. You may drop it"):
                unmark_database(url, restore_id)
    return manifest


@contextmanager
def _hold_home(settings: Settings) -> Iterator[Path]:
    """Keep other commands and restores out of the home during the block.

    Yields: the marker, a file with the id of the restore whose data may be in the deployment. An empty one is deleted.
    Raises: BackupError, another restore is running.
    """
    path = unfinished_restore(settings)
    is_new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open_locked(path):
        try:
            yield path
        finally:
            if path.exists() and _read_id(path) is None:
                path.unlink()
            if is_new:
                with suppress(OSError):  # not empty
                    path.parent.rmdir()


def _open_locked(path: Path) -> TextIO:
    while True:
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise BackupError(
                f"Expected one restore into {path.parent}. Another one is running. Wait for its end, then look at the "
                "deployment before you restore again."
            ) from error
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            os.set_inheritable(file.fileno(), True)
            return file
        file.close()  # the restore that had the lock has ended, and deleted the file


def _read_id(marker: Path) -> str | None:
    """Return the id of the restore whose data may be in the deployment; None if no restore wrote any."""
    text = marker.read_text(errors="replace")
    return text if _ID.fullmatch(text) else None


@contextmanager
def _translated_errors(settings: Settings) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, MycoflowError):
            raise
        raise BackupError(
            f"Expected to restore the backup's files into {settings.mycoflow_home}. Received: {error}. Nothing was "
            "restored. Make room, or make the folder writable, then restore again."
        ) from error


@contextmanager
def _logged_errors(what: str) -> Iterator[None]:
    """Log an error instead of raising it, so that it does not hide an earlier one."""
    try:
        yield
    except (MycoflowError, OSError) as error:
        logger.error("%s: %s", what, error)


def _write(settings: Settings, target: _Target, folder: Path, manifest: Manifest, restore_id: str) -> None:
    _put_objects(settings, folder / STORE)
    if target.mlflow is not None and manifest.mlflow_root is not None:
        _fill(target.mlflow, folder / MLFLOW_DUMP, restore_id)
        move_uris(target.mlflow, manifest.mlflow_root, target.files.as_uri())
        if (folder / MLFLOW_FILES).exists():
            shutil.copytree(folder / MLFLOW_FILES, target.files, dirs_exist_ok=True)
    _fill(target.catalog, folder / CATALOG_DUMP, restore_id)


def _fill(url: sa.URL, dump: Path, restore_id: str) -> None:
    """Restore one database. After an error, nothing in it is of this restore, so the mark goes."""
    try:
        restore_database(url, dump)
    except BackupError:
        with _logged_errors(f"The mark of the restore is still in the database {url.database}"):
            unmark_database(url, restore_id)
        raise


def _undo(target: _Target, restore_id: str) -> None:
    """Delete what one restore has written: the databases with its mark, and the files of MLflow with its database."""
    if target.mlflow is not None and has_mark(target.mlflow, restore_id):
        if target.files.exists():
            shutil.rmtree(target.files)
        empty_database(target.mlflow)
    if has_mark(target.catalog, restore_id):
        empty_database(target.catalog)


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


def _demand_empty(target: _Target, remains: str | None) -> None:
    """Refuse a deployment with data. Args: remains, id of a killed restore, whose data does not count."""
    held = [name for name, url in target.databases.items() if not _is_free(url, remains)]
    if target.mlflow is not None and target.files.exists() and any(target.files.iterdir()):
        held += [] if remains is not None and has_mark(target.mlflow, remains) else [str(target.files)]
    if held:
        raise BackupError(
            f"Expected an empty deployment. Found data in {', '.join(held)}. "
            "Restore into a new MYCOFLOW_HOME, or new databases, before any other command uses them."
        )


def _is_free(url: sa.URL, remains: str | None) -> bool:
    return is_empty(url) or (remains is not None and has_mark(url, remains))


def _put_objects(settings: Settings, folder: Path) -> None:
    """Copy objects into the store. An object's key contains its hash, so an object that exists already is equal."""
    store = open_object_store(settings)
    files = [path for path in folder.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(COPIERS) as copiers:
        for _ in copiers.map(lambda path: store.put(path.relative_to(folder).as_posix(), path.read_bytes()), files):
            pass
