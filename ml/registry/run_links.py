"""The addresses of runs in MLflow's pages."""

from ml.catalog.database import Catalog
from ml.catalog.models.attempts import find_attempt
from ml.registry.mlflow_client import without_userinfo
from ml.settings import Settings


def training_run_url(catalog: Catalog, settings: Settings, request_key: str) -> str | None:
    """Return the address of the page of an attempt's MLflow run.

    Args: request_key, of the attempt; in Airflow, it is the id of the DAG run.
    Returns: None if the attempt has not trained yet, or MLflow has no web address in the settings.
    Raises: DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        attempt = find_attempt(connection, request_key)
    if attempt is None or attempt.mlflow_run_id is None:
        return None
    return run_url(settings, attempt.mlflow_run_id)


def run_url(settings: Settings, mlflow_run_id: str) -> str | None:
    """Return the address of a run's page; None if MLflow has no web address in the settings."""
    address = settings.mlflow_public_url or settings.mlflow_tracking_uri or ""
    if not address.startswith(("http://", "https://")):
        return None
    return f"{without_userinfo(address).rstrip('/')}/#/runs/{mlflow_run_id}"
