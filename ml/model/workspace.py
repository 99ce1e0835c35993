"""What every step of a night is given: the settings, what is known, and where the models are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ml.catalog.database import Catalog, open_catalog
from ml.catalog.embedded import embedded_url
from ml.model.registry import Registry
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
    uri = settings.mlflow_tracking_uri or embedded_url(settings.mycoflow_home, "mlflow")
    is_server = uri.startswith(("http://", "https://"))
    return Registry(uri, None if is_server else (settings.mycoflow_home / "mlflow").as_uri())
