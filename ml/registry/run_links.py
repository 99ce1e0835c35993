"""The address of a training's page in MLflow."""

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
    address = settings.mlflow_public_url or settings.mlflow_tracking_uri or ""
    if attempt is None or attempt.mlflow_run_id is None or not address.startswith(("http://", "https://")):
        return None
    return f"{without_userinfo(address).rstrip('/')}/#/runs/{attempt.mlflow_run_id}"
