"""The button "MLflow run" beside a task. `.airflowignore` keeps the DAG parser away from this file."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from typing import Any

from airflow.sdk import BaseOperatorLink


class MlflowRunLink(BaseOperatorLink):
    """Leads to the MLflow run that this DAG run trained in.

    Airflow asks for the address in the task's own process, once the task has ended in whatever way, and keeps it.
    """

    name = "MLflow run"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address; empty, which shows no button, while there is no such run."""
        from ml.catalog.database import open_catalog
        from ml.registry.run_links import training_run_url
        from ml.settings import load_settings

        settings = load_settings()
        with open_catalog(settings) as catalog:
            return training_run_url(catalog, settings, ti_key.run_id) or ""
