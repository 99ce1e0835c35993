"""Refuse predictions in maintenance mode."""

from flask import Flask, current_app

from ml.serving.lazy_catalog import Database
from ml.serving.maintenance_state import MaintenanceMode
from webapi.problems import ProblemError

_RETRY_AFTER_SECONDS = 60
_EXTENSION = "mycoflow-maintenance"


def init_app(app: Flask, database: Database) -> None:
    """Create an application's maintenance mode."""
    app.extensions[_EXTENSION] = MaintenanceMode(database)


def current() -> MaintenanceMode:
    """Return the maintenance mode of the application that handles this request."""
    mode: MaintenanceMode = current_app.extensions[_EXTENSION]
    return mode


def refuse_in_maintenance() -> None:
    """Check maintenance mode. Each route for predictions must call this first.

    Raises: ProblemError, 503 with Retry-After, maintenance mode is on.
    """
    if current().is_on():
        raise ProblemError(
            503,
            "maintenance",
            "The service is in maintenance and makes no predictions now. Try again later.",
            _RETRY_AFTER_SECONDS,
        )
