"""The application factory."""

from flask import Flask

from ml.serving.loaded_model import MAX_IMAGE_BYTES
from ml.settings import Settings, load_settings
from webapi import application_state, request_deadlines, request_ids
from webapi.access import (
    authentication,
    browser_security,
    form_sessions,
    large_uploads,
    limits,
    maintenance_gate,
    other_origins,
)
from webapi.api import openapi
from webapi.api.json_provider import JsonProvider
from webapi.api.routes import (
    account_routes,
    batch_routes,
    data_routes,
    feedback_routes,
    health_routes,
    image_routes,
    log_routes,
    maintenance_routes,
    model_routes,
    prediction_routes,
    review_routes,
    status_routes,
    supervision_routes,
    token_routes,
)
from webapi.pages import site
from webapi.telemetry import metrics

_FORM_OVERHEAD_BYTES = 64 * 1024  # multipart boundaries, headers and the other fields
_MAX_FORM_PARTS = 16


def create_app(settings: Settings | None = None) -> Flask:
    """Create the application. `application_state.current(app).start()` opens and starts its parts.

    Args: settings, read from the environment when None.
    Raises: SettingsError.
    """
    settings = settings or load_settings()
    app = openapi.new_app(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_IMAGE_BYTES + _FORM_OVERHEAD_BYTES
    app.config["MAX_FORM_PARTS"] = _MAX_FORM_PARTS
    app.json = JsonProvider(app)
    request_ids.init_app(app)
    form_sessions.init_app(app)
    mycoflow = application_state.init_app(app, settings)
    metrics.init_app(app, mycoflow.metrics)
    request_deadlines.init_app(app, settings)
    maintenance_gate.init_app(app, mycoflow.database)
    browser_security.init_app(app, settings)
    _init_access(app, settings)
    app.register_api(status_routes.api)
    app.register_api(token_routes.api)
    app.register_api(account_routes.api)
    app.register_api(prediction_routes.api)
    app.register_api(batch_routes.api)
    app.register_api(feedback_routes.api)
    app.register_api(supervision_routes.api)
    app.register_api(health_routes.api)
    app.register_api(data_routes.api)
    app.register_api(image_routes.api)
    app.register_api(review_routes.api)
    app.register_api(model_routes.api)
    app.register_api(maintenance_routes.api)
    app.register_api(log_routes.api)
    openapi.init_app(app)
    site.init_app(app)
    other_origins.init_app(app, settings)
    return app


def _init_access(app: Flask, settings: Settings) -> None:
    """Identify the account, check the rate limits, then the role: in this order, at the start of each request."""
    authentication.init_identification(app)
    throttle = limits.init_app(app, settings)
    authentication.init_passwords(app, throttle)
    authentication.init_authorisation(app)
    large_uploads.init_app(app, settings)
