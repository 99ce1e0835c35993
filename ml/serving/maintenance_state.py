"""Maintenance mode in one process. The database has the state for all replicas; each caches it for a second."""

import threading
import time

from ml.catalog.logs import maintenance_mode
from ml.errors import MycoflowError
from ml.serving.lazy_catalog import Database

_REMEMBERED_SECONDS = 1.0
_NEVER = float("-inf")


class MaintenanceMode:
    """The state of maintenance mode, in which predictions are refused.

    While the database does not answer, the last known state applies: an outage neither starts nor ends maintenance.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._is_on = False
        self._read_at = _NEVER

    def is_on(self) -> bool:
        """Return the state, at most a second old. One request at a time reads it; the others use the cached state."""
        is_due = time.monotonic() - self._read_at >= _REMEMBERED_SECONDS
        if is_due and self._lock.acquire(blocking=self._read_at == _NEVER):
            try:
                self._is_on = self._read()
                self._read_at = time.monotonic()
            finally:
                self._lock.release()
        return self._is_on

    def switch(self, is_on: bool, actor: str) -> None:
        """Turn maintenance mode on or off for all replicas. This process applies the change immediately.

        Args: actor, `account:<id>`, for the audit log.
        Raises: DatabaseUnavailableError.
        """
        with self._lock:
            with self._database.catalog().begin() as connection:
                maintenance_mode.switch(connection, is_on, actor)
            self._is_on, self._read_at = is_on, time.monotonic()

    def _read(self) -> bool:
        try:
            with self._database.catalog().begin() as connection:
                return maintenance_mode.is_on(connection)
        except MycoflowError:
            return self._is_on
