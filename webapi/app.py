"""The application factory."""

from flask import Flask

from ml.ingest.validation import MAX_BYTES
from ml.settings import Settings, load_settings
from webapi import metrics, problems, request_ids, service
from webapi.routes import predictions, status

_FORM_OVERHEAD_BYTES = 64 * 1024  # multipart boundaries, headers and the other fields
_MAX_FORM_PARTS = 16


def create_app(settings: Settings | None = None) -> Flask:
    """Put the service together. Nothing is opened or started yet: `service.current(app).start()` does that.

    Args: settings, read from the environment when None.
    Raises: SettingsError.
    """
    settings = settings or load_settings()
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES + _FORM_OVERHEAD_BYTES
    app.config["MAX_FORM_PARTS"] = _MAX_FORM_PARTS
    app.json.sort_keys = False  # type: ignore[attr-defined]  # bodies read in the order they are written
    request_ids.init_app(app)
    problems.init_app(app)
    mycoflow = service.init_app(app, settings)
    metrics.init_app(app, mycoflow.metrics)
    app.register_blueprint(status.blueprint)
    app.register_blueprint(predictions.blueprint)
    return app
