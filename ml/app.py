"""What every step of a night is given: the settings, what is known, and where the models are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ml.catalog.database import Catalog, open_catalog
from ml.catalog.embedded import embedded_url
from ml.registry.mlflow_registry import Registry
from ml.settings import Settings, load_settings


@dataclass(frozen=True)
class Workspace:
    """One deployment, opened."""

    settings: Settings
    catalog: Catalog
    registry: Registry


@contextmanager
def open_workspace(settings: Settings | None = None) -> Iterator[Workspace]:
    """Open everything that the settings name; settings from the environment when none are given.

    Raises: SettingsError, DatabaseUnavailableError, SchemaVersionError.
    """
    settings = settings or load_settings()
    with open_catalog(settings) as catalog:
        yield Workspace(settings, catalog, open_registry(settings))


def open_registry(settings: Settings) -> Registry:
    """The registry that the settings name; nothing is connected to before it is asked.

    A database URL has no server in front that would decide where files go: they go under MYCOFLOW_HOME.
    """
    root = (settings.mycoflow_home / "mlflow").as_uri() if is_mlflow_embedded(settings) else None
    return Registry(mlflow_uri(settings), root)


def is_mlflow_embedded(settings: Settings) -> bool:
    """Whether MLflow is a database and a folder under MYCOFLOW_HOME, not a server of its own."""
    return not (settings.mlflow_tracking_uri or "").startswith(("http://", "https://"))


def mlflow_uri(settings: Settings) -> str:
    """Where MLflow is; its embedded database is started for it.

    Raises: DatabaseUnavailableError, the embedded server cannot be started.
    """
    return settings.mlflow_tracking_uri or embedded_url(settings.mycoflow_home, "mlflow")
