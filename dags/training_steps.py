"""The steps of every training after its snapshot. Because of `.airflowignore`, the DAG parser skips this file."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param, chain, task

from dags.mlflow_link import MlflowRunLink
from dags.photo_index import index_photos

# MYCOFLOW_TRAINING_BUDGET_MINUTES is 30 by default. The rest is for features, export and start-up.
TRAINING_TIMEOUT = timedelta(minutes=45)
# A challenger in shadow answers new uploads this often. It holds no worker in between.
SHADOW_INTERVAL = timedelta(minutes=15)
# Longer than MYCOFLOW_SHADOW_HOURS may be.
SHADOW_TIMEOUT = timedelta(days=31)
# Without an approval within this time, the champion stays.
APPROVAL_TIMEOUT = timedelta(hours=20)
# A run that waits for a person must not block later runs. Only one of the parallel runs trains at a time.
TRAINING_RUNS = 10
PROMOTE, KEEP = "Promote the challenger", "Keep the champion"

SNAPSHOT_PARAMS = {
    "snapshot_size": Param(
        None,
        type=["null", "integer"],
        minimum=2,
        maximum=1_000_000,
        title="Snapshot size",
        description="Number of images for newest and balanced; when empty, MYCOFLOW_SNAPSHOT_SIZE",
    ),
    "seed": Param(
        0,
        type="integer",
        minimum=0,
        maximum=2**31 - 1,
        title="Seed",
        description="Seed of the initial heads, the shuffling and the dropout",
    ),
    "reason": Param(
        "asked for by hand",
        type="string",
        minLength=1,
        maxLength=500,
        title="Reason",
        description="Stored with an attempt that is started by hand",
    ),
}


@task(execution_timeout=TRAINING_TIMEOUT, max_active_tis_per_dag=1)
def train(attempt_id: int) -> str:
    """Train on the snapshot. Returns: the id of the MLflow run."""
    from ml import cycle
    from ml.app import open_workspace

    with open_workspace() as workspace:
        return cycle.train(workspace, attempt_id)


@task
def register(attempt_id: int) -> int:
    """Register the trained model as a version. Returns: its number."""
    from ml import cycle
    from ml.app import open_workspace

    with open_workspace() as workspace:
        return cycle.register(workspace, attempt_id)


@task
def evaluate(attempt_id: int) -> None:
    """Score challenger and champion on the same evaluation set."""
    from ml import cycle
    from ml.app import open_workspace

    with open_workspace() as workspace:
        cycle.evaluate_challenger(workspace, attempt_id)


@task
def gate(attempt_id: int) -> str:
    """Judge the challenger. Returns: the decision, `promote` or `keep`."""
    from ml import cycle
    from ml.app import open_workspace

    with open_workspace() as workspace:
        return cycle.decide(workspace, attempt_id).decision


@task.sensor(mode="reschedule", poke_interval=SHADOW_INTERVAL.total_seconds(), timeout=SHADOW_TIMEOUT.total_seconds())
def shadow(attempt_id: int) -> bool:
    """Compare the challenger with the champion on uploads, again and again until MYCOFLOW_SHADOW_HOURS are over."""
    from ml import cycle
    from ml.app import open_workspace

    with open_workspace() as workspace:
        return cycle.compare_in_shadow(workspace, attempt_id)


@task.branch
def ask(attempt_id: int, **context: Any) -> str:
    """Choose the next task: with MYCOFLOW_PROMOTION=approve a person decides first. Returns: the next task's id."""
    from ml import cycle
    from ml.reporting.alert_delivery import alerting_workspace

    with alerting_workspace() as workspace:
        comparison = cycle.comparison_to_approve(workspace, attempt_id)
    if comparison is None:
        return "promote"
    context["ti"].xcom_push("comparison", comparison)
    return "approval"


@task(trigger_rule="none_failed_min_one_success")
def promote(attempt_id: int, **context: Any) -> int | None:
    """Follow the decision of the gate and of the person. Returns: the version in production afterwards."""
    from ml import cycle
    from ml.reporting.alert_delivery import alerting_workspace

    answer = context["ti"].xcom_pull(task_ids="approval")
    is_approved = answer is not None and answer["chosen_options"] == [PROMOTE]
    person = ((answer or {}).get("responded_by_user") or {}).get("name") or "unknown"
    # The service answers with its own account, and says for whom.
    person = ((answer or {}).get("params_input") or {}).get("answered_by") or f"airflow:{person}"
    with alerting_workspace() as workspace:
        return cycle.promote_challenger(workspace, attempt_id, person if is_approved else None)


def _approval() -> HITLOperator:
    return HITLOperator(
        task_id="approval",
        subject="May the challenger go into production?",
        body="{{ ti.xcom_pull(task_ids='ask', key='comparison') }}",
        options=[PROMOTE, KEEP],
        defaults=KEEP,
        response_timeout=APPROVAL_TIMEOUT,
        execution_timeout=None,  # it needs no worker while it waits
        doc_md="Wait for a person's yes or no, in Airflow, under required actions. "
        "Skipped with MYCOFLOW_PROMOTION=auto.",
    )


def train_and_judge(attempt_id: Any) -> None:
    """Add these steps, in order, to the DAG that is being defined.

    Args: attempt_id, the output of the task that pins the snapshot.
    """
    steps = [step(attempt_id) for step in (train, register, evaluate, gate, shadow, ask, promote)]
    for step in steps:
        step.operator.operator_extra_links = [MlflowRunLink()]  # type: ignore[attr-defined]
    *judged, asked, promoted = steps
    chain(*judged, asked, _approval(), promoted)
    chain(asked, promoted)
    chain(promoted, index_photos())
