"""How tasks of every DAG fail and try again. `.airflowignore` keeps the DAG parser away from this file."""

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryRule
from airflow.sdk.definitions.retry_policy import RetryAction

_RETRIES = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=["builtins.ConnectionError", "ml.errors.ImageStoreError"], reason="A server may come back"),
        RetryRule(exception="ml.errors.StaleChampionError", reason="The gate compares with the new champion"),
        RetryRule(
            exception="ml.errors.MycoflowError",
            action=RetryAction.FAIL,
            reason="It would happen again: see the message for what to do, then clear the task",
        ),
    ]
)

TASK_DEFAULTS: dict[str, Any] = {
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_policy": _RETRIES,
    "execution_timeout": timedelta(minutes=20),
}
