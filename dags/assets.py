"""The assets that connect the DAGs. Because of `.airflowignore`, the DAG parser skips this file."""

from airflow.sdk import Asset

RETRAINING_REQUESTED = Asset("retraining_requested")
