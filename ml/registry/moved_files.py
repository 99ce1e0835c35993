"""Follow a home folder that was moved: MLflow stores absolute URIs of its files."""

import logging
from pathlib import Path
from urllib.parse import unquote

import sqlalchemy as sa

from ml.registry.mlflow_runs import EXPERIMENTS

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 5
_SCHEME = "file://"


def follow_moved_files(url: sa.URL, root: str) -> None:
    """Make MLflow's URIs name the current root, if its experiments are under another one.

    Call it only for the embedded database, which lies in the home folder beside the files, and so moves with them.

    Args: root, file:// URI of the folder of the files.
    """
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args={"connect_timeout": _CONNECT_SECONDS})
    with engine.begin() as connection:
        if connection.scalar(sa.text("SELECT to_regclass('public.experiments')")) is None:
            return  # MLflow has not made its tables yet
        for former in _former_roots(connection, root):
            replace_root(connection, former, root)
            logger.warning("MYCOFLOW_HOME was moved: MLflow's files of %s are taken from %s.", former, root)


def replace_root(connection: sa.Connection, old_root: str, new_root: str) -> None:
    """Replace the root of all URIs in the text columns of MLflow's database."""
    columns = sa.text(
        "SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables "
        "USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE' "
        "AND data_type IN ('text', 'character varying')"
    )
    for table_name, column_name in connection.execute(columns).all():
        column: sa.ColumnClause[str] = sa.column(column_name, sa.Text)
        moved = sa.func.concat(new_root, sa.func.substr(column, len(old_root) + 1))
        table = sa.table(table_name, column, schema="public")
        is_below = sa.func.starts_with(column, f"{old_root}/")
        connection.execute(sa.update(table).where(is_below).values({column_name: moved}))


def _former_roots(connection: sa.Connection, root: str) -> set[str]:
    """Return the other roots of Mycoflow's experiments. Each experiment has a folder with its name under the root.

    A root is left alone if it still has an experiment's files and the current root does not.
    """
    end = f"/{root.rpartition('/')[2]}"
    found = connection.execute(sa.text("SELECT artifact_location, name FROM experiments")).tuples()
    ours = {str(location): name for location, name in found if name in EXPERIMENTS}
    return {
        former
        for location, name in ours.items()
        if location.startswith(_SCHEME) and location.endswith(f"{end}/{name}")
        if (former := location.removesuffix(f"/{name}")) != root
        if _exists(f"{root}/{name}") or not _exists(location)
    }


def _exists(uri: str) -> bool:
    return Path(unquote(uri.removeprefix(_SCHEME))).exists()
