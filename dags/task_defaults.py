"""Retries, timeouts and alerts of all tasks. Because of `.airflowignore`, the DAG parser skips this file."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that fails pays for imports
from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryRule
from airflow.sdk.definitions.retry_policy import RetryAction

_RETRIES = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=["builtins.ConnectionError", "ml.errors.ImageStoreError"], reason="A server may answer later"
        ),
        RetryRule(exception="ml.errors.StaleChampionError", reason="The gate compares with the new champion"),
        RetryRule(
            exception="ml.errors.MycoflowError",
            action=RetryAction.FAIL,
            reason="Trying again would not help: do what the message says, then clear the task",
        ),
    ]
)


def notify_failure(context: Any) -> None:
    """Alert people to a failed task. Airflow calls this in the task's process, and only logs its errors."""
    from ml.reporting import task_failures
    from ml.settings import load_settings

    task = context["ti"]
    failed = task_failures.FailedTask(
        task.dag_id,
        task.run_id,
        task.task_id,
        -1 if task.map_index is None else task.map_index,
        task.try_number,
        is_training="training" in context["dag"].tags,
        error=context.get("exception"),
    )
    task_failures.notify_failure(load_settings(), failed)


TASK_DEFAULTS: dict[str, Any] = {
    "on_failure_callback": notify_failure,
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_policy": _RETRIES,
    "execution_timeout": timedelta(minutes=20),
}
