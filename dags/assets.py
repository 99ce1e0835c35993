"""The assets that tie the DAGs together. `.airflowignore` keeps the DAG parser away from this file."""

from airflow.sdk import Asset

RETRAINING_REQUESTED = Asset("retraining_requested")
