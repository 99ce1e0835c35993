"""Maintenance mode as the requests see it: the database says it for all replicas, each remembers it for a second."""

import threading
import time

from flask import Flask, current_app

from ml.catalog.logs import maintenance_mode
from ml.errors import MycoflowError
from webapi.lazy_catalog import Database
from webapi.problems import ProblemError

_REMEMBERED_SECONDS = 1.0
_RETRY_AFTER_SECONDS = 60
_NEVER = float("-inf")
_EXTENSION = "mycoflow-maintenance"


class MaintenanceMode:
    """Whether predictions are refused now.

    While the database does not answer, the last known state stays: an outage neither starts nor ends maintenance.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._is_on = False
        self._read_at = _NEVER

    def is_on(self) -> bool:
        """The state, at most a second old. One request at a time looks; the others answer with what was known."""
        is_due = time.monotonic() - self._read_at >= _REMEMBERED_SECONDS
        if is_due and self._lock.acquire(blocking=self._read_at == _NEVER):
            try:
                self._is_on = self._read()
                self._read_at = time.monotonic()
            finally:
                self._lock.release()
        return self._is_on

    def switch(self, is_on: bool, actor: str) -> None:
        """Turn it on or off for every replica; this one knows at once.

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


def init_app(app: Flask, database: Database) -> None:
    """Give an application its maintenance mode."""
    app.extensions[_EXTENSION] = MaintenanceMode(database)


def current() -> MaintenanceMode:
    """The mode of the application that handles this request."""
    mode: MaintenanceMode = current_app.extensions[_EXTENSION]
    return mode


def refuse_in_maintenance() -> None:
    """Call it first in whatever makes a prediction.

    Raises: ProblemError, 503 with Retry-After while maintenance mode is on.
    """
    if current().is_on():
        raise ProblemError(
            503,
            "maintenance",
            "The service is in maintenance and answers no predictions for now. Try again later.",
            _RETRY_AFTER_SECONDS,
        )
