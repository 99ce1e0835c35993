"""Open the catalog when it is first needed, and try again after a failure."""

import threading
import time
from contextlib import ExitStack

import sqlalchemy as sa

from ml.catalog.database import Catalog, open_catalog
from ml.catalog.models.model_versions import find_model_version
from ml.errors import DatabaseUnavailableError, MycoflowError
from ml.settings import Settings

_RETRY_SECONDS = 1.0


class Database:
    """Opens the catalog lazily, so that the service can start and respond while PostgreSQL is down."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._catalog: Catalog | None = None
        self._failure: DatabaseUnavailableError | None = None
        self._failed_at = 0.0

    def catalog(self) -> Catalog:
        """Return the open catalog. Its connections recover by themselves after an outage.

        Raises: DatabaseUnavailableError, SchemaVersionError, SettingsError.
        """
        if self._catalog is None:
            with self._lock:
                if self._catalog is None:
                    self._catalog = self._open()
        return self._catalog

    def is_reachable(self) -> bool:
        """Return whether the database answers a query now."""
        try:
            with self.catalog().begin() as connection:
                connection.execute(sa.select(1))
        except MycoflowError:
            return False
        return True

    def known_run(self, version: int) -> str | None:
        """Return the MLflow run of a model version in the catalog; None if it is not known.

        Raises: as `catalog`.
        """
        with self.catalog().begin() as connection:
            found = find_model_version(connection, version)
        return None if found is None else found.mlflow_run_id

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self._catalog = None
            self._stack.close()

    def _open(self) -> Catalog:
        # To open can take seconds while the server is down. Requests that waited for an attempt share its result.
        if self._failure is not None and time.monotonic() - self._failed_at < _RETRY_SECONDS:
            raise DatabaseUnavailableError(str(self._failure))
        try:
            catalog = self._stack.enter_context(open_catalog(self._settings))
        except DatabaseUnavailableError as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise
        self._failure = None
        return catalog
