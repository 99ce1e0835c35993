"""The index of known photos, after a promotion and every night. The DAG parser skips this file."""

# ruff: noqa: PLC0415 - the DAG processor reads the DAGs again and again; only a task that runs pays for imports
from airflow.sdk import task
from airflow.sdk.exceptions import AirflowSkipException


@task
def index_photos() -> None:
    """Index the known photos by the champion's features. The service finds similar photos there."""
    from ml import cycle
    from ml.app import open_workspace
    from ml.errors import NoChampionError

    with open_workspace() as workspace:
        try:
            cycle.index_photos(workspace)
        except NoChampionError as error:  # the gate kept the first model out
            raise AirflowSkipException(str(error)) from error
