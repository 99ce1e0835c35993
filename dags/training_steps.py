"""The steps that every training takes once its snapshot is pinned. `.airflowignore` hides this file from the parser."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from datetime import timedelta
from typing import Any

from airflow.sdk import chain, task

# The training budget is 30 minutes (TRAINING_BUDGET_MINUTES); the rest is for features, export and start-up.
TRAINING_TIMEOUT = timedelta(minutes=45)


@task(execution_timeout=TRAINING_TIMEOUT)
def train(attempt_id: int) -> str:
    """Learn from the snapshot. Returns the id of the MLflow run."""
    from ml import cycle
    from ml.model.workspace import open_workspace

    with open_workspace() as workspace:
        return cycle.train(workspace, attempt_id)


@task
def register(attempt_id: int) -> int:
    """Make a model version of what was trained. Returns its number."""
    from ml import cycle
    from ml.model.workspace import open_workspace

    with open_workspace() as workspace:
        return cycle.register(workspace, attempt_id)


@task
def evaluate(attempt_id: int) -> None:
    """Score challenger and champion on the same evaluation set."""
    from ml import cycle
    from ml.model.workspace import open_workspace

    with open_workspace() as workspace:
        cycle.evaluate_challenger(workspace, attempt_id)


@task
def gate(attempt_id: int) -> str:
    """Judge the challenger. Returns the decision, `promote` or `keep`."""
    from ml import cycle
    from ml.model.workspace import open_workspace

    with open_workspace() as workspace:
        return cycle.decide(workspace, attempt_id).decision


@task
def promote(attempt_id: int) -> int | None:
    """Do what the gate decided. Returns the version in production afterwards."""
    from ml import cycle
    from ml.model.workspace import open_workspace

    with open_workspace() as workspace:
        return cycle.promote_challenger(workspace, attempt_id)


def train_and_judge(attempt_id: Any) -> None:
    """Put these steps in order into the DAG that is being defined.

    Args: attempt_id, what the task that pinned the snapshot returns.
    """
    chain(*(step(attempt_id) for step in (train, register, evaluate, gate, promote)))
