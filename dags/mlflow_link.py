"""The button "MLflow run" beside a task. Because of `.airflowignore`, the DAG parser skips this file."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from typing import Any

from airflow.sdk import BaseOperatorLink


class MlflowRunLink(BaseOperatorLink):
    """A link to the MLflow run of this DAG run's training.

    Airflow calls `get_link` in the task's process when the task has ended, successful or not, and stores the address.
    """

    name = "MLflow run"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the run's address. Without a run it is empty, and Airflow shows no button."""
        from ml.catalog.database import open_catalog
        from ml.registry.run_links import training_run_url
        from ml.settings import load_settings

        settings = load_settings()
        with open_catalog(settings) as catalog:
            return training_run_url(catalog, settings, ti_key.run_id) or ""
