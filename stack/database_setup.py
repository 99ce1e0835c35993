"""Bring the three databases to what this code expects, before any server looks at them."""

import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from ml.catalog.database import open_catalog
from ml.catalog.home_choices import demand_restored
from ml.errors import DatabaseUnavailableError
from ml.settings import Settings
from stack.environment import Addresses, python_program


def migrate_all(settings: Settings, addresses: Addresses, environment: Mapping[str, str], logs: Path) -> None:
    """Migrate Airflow's and MLflow's databases side by side, and the catalog meanwhile.

    An external catalog or tracking server belongs to somebody else: the first must be at the right migration already,
    the second is left alone.

    Raises: DatabaseUnavailableError, a migration failed; SchemaVersionError, an external catalog is not current;
        SettingsError, a restore into the home is running or was killed.
    """
    demand_restored(settings)  # before MLflow's migration, which would fill a database that a restore needs empty
    commands = {"airflow-migration": ["airflow", "db", "migrate"]}
    if settings.mlflow_tracking_uri is None:
        commands["mlflow-migration"] = ["mlflow", "db", "upgrade", addresses.mlflow_store]
    with ExitStack() as stack:
        running = {}
        for name, arguments in commands.items():
            log = stack.enter_context((logs / f"{name}.log").open("w"))
            command = [python_program(), "-m", *arguments]
            running[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603
        try:
            with open_catalog(settings):
                pass
        finally:
            failed = [name for name, process in running.items() if process.wait() != 0]
    if failed:
        paths = ", ".join(str(logs / f"{name}.log") for name in failed)
        raise DatabaseUnavailableError(
            f"Expected the databases to migrate, but {' and '.join(failed)} failed: {paths}. If a newer release "
            "migrated them, install that release."
        )
