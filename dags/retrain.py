"""Retrain: from a pinned snapshot to the gate's verdict and, if it is positive, a promotion."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from typing import Any

from airflow.sdk import Param, dag, task

from dags.assets import RETRAINING_REQUESTED
from dags.task_defaults import TASK_DEFAULTS
from dags.training_steps import SNAPSHOT_PARAMS, TRAINING_RUNS, train_and_judge


@dag(
    schedule=[RETRAINING_REQUESTED],
    catchup=False,
    max_active_runs=TRAINING_RUNS,
    tags=["mycoflow", "training"],
    params={
        **SNAPSHOT_PARAMS,
        "base_backbone": Param(
            False,
            type="boolean",
            title="Base backbone",
            description="Use MYCOFLOW_WEIGHTS even if the model in production was fine-tuned",
        ),
        "selection": Param(
            "newest",
            type="string",
            pattern=r"^(newest|balanced|all|since:\d{4}-\d{2}-\d{2}.*)$",
            title="Selection",
            description="Pool images to train on: newest, balanced (the newest of each class), all, or since:DATE",
        ),
    },
    default_args=TASK_DEFAULTS,
)
def retrain() -> None:
    """### Retrain the classifier

    Runs when `monitor_production` requests it, or by hand with parameters.

    **snapshot** pins pool images, the newest by default. **train** trains a model on them. **register** registers it as
    a model version. **evaluate** scores challenger and champion on the same evaluation set. **gate** decides, and
    stores its reasons. **promote** follows the gate's decision: it moves the alias `production`, or keeps the champion.
    **index_photos** indexes the known photos by the new champion's features.

    One run is one attempt, and the run's id names it. A failed task can be cleared and run again: it continues with the
    same snapshot and the same model version.
    """

    @task
    def snapshot(**context: Any) -> int:
        """Pin the images to train on. Returns: the attempt's id."""
        from ml import cycle
        from ml.reporting.alert_delivery import alerting_workspace
        from ml.training.recipes import Retrain

        params, request_key = context["params"], context["dag_run"].run_id
        with alerting_workspace() as workspace:
            size = params["snapshot_size"] or workspace.settings.snapshot_size
            parameters = Retrain(size, params["seed"], params["base_backbone"], params["selection"])
            return cycle.take_snapshot(workspace, request_key, _reason(context), parameters)

    train_and_judge(snapshot())


def _reason(context: dict[str, Any]) -> str:
    events = context["triggering_asset_events"].get(RETRAINING_REQUESTED, [])
    reasons = [event.extra["reason"] for event in events if "reason" in event.extra]
    return "; ".join(dict.fromkeys(reasons)) or str(context["params"]["reason"])


retrain()
