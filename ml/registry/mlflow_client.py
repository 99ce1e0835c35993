"""Connect to MLflow: import it late, because that takes seconds, and fail within seconds if it does not answer."""

import contextlib
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ml.errors import RegistryStateError, RegistryUnavailableError
from ml.plain_paths import is_plain, plain_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_TIMEOUT_SECONDS = 3
_ROOT_VARIABLE = "_MLFLOW_SERVER_ARTIFACT_ROOT"
_SCHEMA_LOCK = 0x6D6C666C  # "mlfl"; MLflow creates its tables without a lock of its own

# Defaults for MLflow, which reads them only from the environment. Values that a deployment sets have priority.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "GIT_PYTHON_REFRESH": "quiet",
}


def connect(tracking_uri: str, artifact_root: str | None = None) -> "MlflowClient":
    """Return a client. Create MLflow's tables first if the database is empty.

    Args:
        tracking_uri: http(s):// of a server, or postgresql+psycopg2:// of its database.
        artifact_root: a file:// URI for the files of the experiment that MLflow then creates; None for a server's own.
    Raises: RegistryUnavailableError, MLflow does not answer there; RegistryStateError, its schema is of another MLflow.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    _check_server(tracking_uri)
    with _schema_lock(tracking_uri), _artifact_root(artifact_root):
        from mlflow import MlflowClient  # noqa: PLC0415
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        if tracking_uri.startswith("postgresql"):
            _use_plain_migrations()
        try:
            client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
            client.search_registered_models(max_results=1)
        except (OSError, MlflowException) as error:
            if "database schema" in str(error):
                raise _other_schema(tracking_uri, error) from error
            raise _unavailable(tracking_uri, error) from error
        return client


def point_mlflow_at(tracking_uri: str) -> None:
    """Set the tracking URI of the whole process: some MLflow functions ignore the client's URI."""
    import mlflow  # noqa: PLC0415

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)


@contextlib.contextmanager
def translated_errors(tracking_uri: str) -> Iterator[None]:
    """Translate all errors of MLflow. If the server is down, fail at once.

    Raises: RegistryUnavailableError, an outage; RegistryStateError, MLflow refuses a request, because somebody deleted
        or changed what the request needs.
    """
    _check_server(tracking_uri)
    from mlflow.exceptions import MlflowException  # noqa: PLC0415
    from requests import RequestException  # noqa: PLC0415

    try:
        yield
    except (ConnectionError, TimeoutError, RequestException, MlflowException) as error:
        if isinstance(error, MlflowException) and not _is_outage(error):
            raise _refused(tracking_uri, error) from error
        raise _unavailable(tracking_uri, error) from error


def without_userinfo(uri: str) -> str:
    """Return a URI without its user and password, so that it may be shown."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _is_outage(error: Exception) -> bool:
    code = getattr(error, "error_code", "")
    return code in ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "UNAUTHENTICATED", "PERMISSION_DENIED")


def _check_server(tracking_uri: str) -> None:
    parts = urlsplit(tracking_uri)
    if parts.scheme not in ("http", "https"):
        return
    address = (parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme])
    try:
        socket.create_connection(address, CONNECT_TIMEOUT_SECONDS).close()
    except OSError as error:
        raise _unavailable(tracking_uri, error) from error


@contextlib.contextmanager
def _schema_lock(tracking_uri: str) -> Iterator[None]:
    """Let one process at a time open MLflow's database, and fail early: MLflow would retry for two minutes."""
    if not tracking_uri.startswith("postgresql"):
        yield
        return
    import sqlalchemy as sa  # noqa: PLC0415

    engine = sa.create_engine(
        tracking_uri, poolclass=sa.pool.NullPool, connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS}
    )
    try:
        connection = engine.connect()
    except sa.exc.DBAPIError as error:
        raise _unavailable(tracking_uri, error) from error
    with connection:
        connection.execute(sa.select(sa.func.pg_advisory_lock(_SCHEMA_LOCK)))
        yield


def _refused(tracking_uri: str, error: Exception) -> RegistryStateError:
    return RegistryStateError(
        f"Expected MLflow at {without_userinfo(tracking_uri)} to accept a request. It refused: "
        f"{_reason(tracking_uri, error)} Somebody may have deleted or changed what the request needs. Look at it in "
        "MLflow, restore it there, then try again."
    )


def _other_schema(tracking_uri: str, error: Exception) -> RegistryStateError:
    return RegistryStateError(
        f"Expected MLflow's database to have the schema of this MLflow. {_reason(tracking_uri, error)} If an older "
        f"MLflow made the schema, run `mlflow db upgrade`. If a newer one did, install that release of Mycoflow."
    )


def _use_plain_migrations() -> None:
    """Let MLflow find its migrations although its own path contains a percent sign, which Alembic would interpolate."""
    from mlflow.store.db import utils  # noqa: PLC0415

    folder = Path(utils.__file__).parents[1] / "db_migrations"
    if not is_plain(folder) and not isinstance(utils._get_alembic_config, partial):
        utils._get_alembic_config = partial(utils._get_alembic_config, alembic_dir=str(plain_path(folder)))


@contextlib.contextmanager
def _artifact_root(root: str | None) -> Iterator[None]:
    """Let MLflow take this root for its first experiment.

    MLflow's default is `mlruns` in the current folder, whose path it writes into SQL: one with a ' fails.
    """
    former = os.environ.get(_ROOT_VARIABLE)
    if root is not None:
        os.environ[_ROOT_VARIABLE] = root
    try:
        yield
    finally:
        if former is None:
            os.environ.pop(_ROOT_VARIABLE, None)
        else:
            os.environ[_ROOT_VARIABLE] = former


def _unavailable(tracking_uri: str, error: Exception) -> RegistryUnavailableError:
    return RegistryUnavailableError(
        f"Expected MLflow to answer at {without_userinfo(tracking_uri)}. It does not ({type(error).__name__}: "
        f"{_reason(tracking_uri, error)}). Start it, read its log, or correct MLFLOW_TRACKING_URI and its credentials."
    )


def _reason(tracking_uri: str, error: Exception) -> str:
    """Return the first line of an error, without the password of the tracking URI that MLflow repeats in it."""
    first_line = str(error).partition("\n")[0]
    return first_line.replace(tracking_uri.rstrip("/"), without_userinfo(tracking_uri).rstrip("/"))
