"""Register: make a version of the model that an MLflow run logged, and let the gate judge it."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from typing import Any

from airflow.sdk import Param, dag, task

from dags.task_defaults import TASK_DEFAULTS


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["mycoflow"],
    params={
        "mlflow_run_id": Param(
            None,
            type=["null", "string"],
            pattern="^[0-9a-f]{32}$",
            title="MLflow run",
            description="Id of a run that logged an image classifier, 32 hexadecimal digits",
        ),
        "image_size": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=1024,
            title="Image size",
            description="Side of the square input in pixels, if the network takes any",
        ),
        "scale": Param(
            None,
            type=["null", "string"],
            title="Scale",
            description="Scale of the input pixels, if the network's first layer does not scale them",
        ),
        "classes": Param(
            None,
            type=["null", "array"],
            items={"type": "string"},
            title="Classes",
            description="Class names in the order of outputs; when empty, the run's tag `classes`",
        ),
    },
    default_args=TASK_DEFAULTS,
)
def register_model() -> None:
    """### Register a model that was trained elsewhere

    Runs by hand with parameters, or from the service's page of model versions.

    **register** converts the model if Mycoflow did not write it, registers it as a version, scores it on the evaluation
    set and stores the gate's verdict. It promotes nothing: a person does. A repeated run returns the same version.
    """

    @task
    def register(**context: Any) -> int:
        """Register the run's model. Returns: the version's number."""
        from ml import cycle
        from ml.app import open_workspace

        params = context["params"]
        with open_workspace() as workspace:
            return cycle.register_run(
                workspace, params["mlflow_run_id"], params["image_size"], params["scale"], params["classes"]
            )

    register()


register_model()
