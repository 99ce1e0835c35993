"""Fine-tune: train the last layers of a model's backbone further, and judge the result like any retraining."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from typing import Any

from airflow.sdk import Param, dag, task

from dags.task_defaults import TASK_DEFAULTS
from dags.training_steps import TRAINING_RUNS, train_and_judge


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=TRAINING_RUNS,
    tags=["mycoflow", "training"],
    params={
        "layers": Param(
            3,
            type="integer",
            minimum=1,
            title="Layers",
            description="How many of the last layers of the backbone to train",
        ),
        "epochs": Param(
            10,
            type="integer",
            minimum=1,
            maximum=100,
            title="Epochs",
            description="Passes over the training data; the weights of the best one are kept",
        ),
        "learning_rate": Param(
            1e-5,
            type="number",
            exclusiveMinimum=0,
            maximum=1,
            title="Learning rate",
            description="Learning rate of Adam",
        ),
        "model_version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Model version",
            description="The version to start from; when empty, the one in production",
        ),
        "requested_by": Param(
            "hand",
            type="string",
            minLength=1,
            maxLength=200,
            title="Requested by",
            description="Stored with the attempt; POST /finetune sets it to the account",
        ),
    },
    default_args=TASK_DEFAULTS,
)
def finetune() -> None:
    """### Fine-tune the classifier

    Runs by hand with parameters, or from the service's `POST /finetune`.

    **snapshot** pins the newest pool images and the version to start from. **train** computes the output of the frozen
    layers once for each image, trains the other layers, quantises the whole backbone and fits a new head on it. The
    other steps are those of `retrain`: a model that passes the gate goes into production.

    One run is one attempt, and the run's id names it. A failed task can be cleared and run again: it continues with the
    same snapshot and the same model version.
    """

    @task
    def snapshot(**context: Any) -> int:
        """Pin the images to train on and the version to start from. Returns: the attempt's id."""
        from ml import cycle
        from ml.reporting.alert_delivery import alerting_workspace
        from ml.training.recipes import Finetune

        params, request_key = context["params"], context["dag_run"].run_id
        reason = f"fine-tuning requested by {params['requested_by']}"
        with alerting_workspace() as workspace:
            parameters = Finetune(
                snapshot_size=workspace.settings.snapshot_size,
                layers=params["layers"],
                epochs=params["epochs"],
                learning_rate=params["learning_rate"],
                model_version=params["model_version"],
            )
            return cycle.take_snapshot(workspace, request_key, reason, parameters)

    train_and_judge(snapshot())


finetune()
