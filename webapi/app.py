"""The application factory."""

from flask import Flask

from ml.ingest.validation import MAX_BYTES
from ml.settings import Settings, load_settings
from webapi import (
    airflow_client,
    auth,
    deadlines,
    limits,
    maintenance,
    metrics,
    openapi,
    problems,
    request_ids,
    security,
    service,
)
from webapi.json_provider import JsonProvider
from webapi.routes import auth as auth_routes
from webapi.routes import data, feedback, health, logs, models, predictions, status, supervision, users
from webapi.routes import maintenance as maintenance_routes

_FORM_OVERHEAD_BYTES = 64 * 1024  # multipart boundaries, headers and the other fields
_MAX_FORM_PARTS = 16


def create_app(settings: Settings | None = None) -> Flask:
    """Put the service together. Nothing is opened or started yet: `service.current(app).start()` does that.

    Args: settings, read from the environment when None.
    Raises: SettingsError.
    """
    settings = settings or load_settings()
    app = openapi.new_app(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES + _FORM_OVERHEAD_BYTES
    app.config["MAX_FORM_PARTS"] = _MAX_FORM_PARTS
    app.json = JsonProvider(app)
    request_ids.init_app(app)
    problems.init_app(app)
    mycoflow = service.init_app(app, settings)
    metrics.init_app(app, mycoflow.metrics)
    deadlines.init_app(app, settings)
    maintenance.init_app(app, mycoflow.database)
    airflow_client.init_app(app, settings)
    security.init_app(app, settings)
    _init_access(app, settings)
    app.register_api(status.api)
    app.register_api(auth_routes.api)
    app.register_api(users.api)
    app.register_api(predictions.api)
    app.register_api(feedback.api)
    app.register_api(supervision.api)
    app.register_api(health.api)
    app.register_api(data.api)
    app.register_api(models.api)
    app.register_api(maintenance_routes.api)
    app.register_api(logs.api)
    openapi.init_app(app)
    return app


def _init_access(app: Flask, settings: Settings) -> None:
    """Who asks, how often, and may they: in this order at the beginning of each request."""
    auth.init_identification(app)
    throttle = limits.init_app(app, settings)
    auth.init_passwords(app, throttle)
    auth.init_authorisation(app)
