"""Tune: search for hyperparameters with several workers, and judge the best head like any retraining."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, chain, dag, task

from dags.task_defaults import TASK_DEFAULTS
from dags.training_steps import SNAPSHOT_PARAMS, TRAINING_RUNS, train_and_judge

# After this time the task is tried again, and continues with the remaining trials.
SEARCH_TIMEOUT = timedelta(hours=2)


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=TRAINING_RUNS,
    tags=["mycoflow", "training"],
    params={
        **SNAPSHOT_PARAMS,
        "trials": Param(
            50,
            type="integer",
            minimum=1,
            maximum=1000,
            title="Trials",
            description="Number of heads to train in the search, over all workers",
        ),
        "workers": Param(
            2,
            type="integer",
            minimum=1,
            maximum=32,
            title="Workers",
            description="Number of tasks that run trials in parallel, if Airflow has enough free slots",
        ),
    },
    default_args=TASK_DEFAULTS,
)
def tune_hyperparameters() -> None:
    """### Search for better hyperparameters

    Runs by hand with parameters.

    **snapshot** pins the newest pool images. **search** runs once per worker. It trains one head after the other on the
    images' features, with the hyperparameters that Optuna suggests, until the shared study has all its trials. Heads
    that are worse than the others are stopped early. If a trial fails or its worker dies, only that trial is lost.
    **choose** records the hyperparameters with the best main figure on the validation fold, and plots the search in
    MLflow. The other steps are those of `retrain`: a model that passes the gate goes into production. The gate uses
    the evaluation set, which the search never uses.

    One run is one attempt and one study, and the run's id names both. A failed task can be cleared and run again.
    """

    @task
    def snapshot(**context: Any) -> int:
        """Pin the images to train on. Returns: the attempt's id."""
        from ml import cycle
        from ml.reporting.alert_delivery import alerting_workspace
        from ml.training.recipes import Tune

        params, request_key = context["params"], context["dag_run"].run_id
        with alerting_workspace() as workspace:
            size = params["snapshot_size"] or workspace.settings.snapshot_size
            parameters = Tune(size, params["trials"], params["seed"])
            return cycle.take_snapshot(workspace, request_key, params["reason"], parameters)

    @task
    def workers(**context: Any) -> list[int]:
        """Return the numbers of the workers: one `search` runs for each."""
        return list(range(context["params"]["workers"]))

    @task(execution_timeout=SEARCH_TIMEOUT)
    def search(attempt_id: int, worker: int) -> int:
        """Run trials of the shared study until it has all of them. Returns: the number of trials that ran here."""
        from ml import cycle
        from ml.app import open_workspace

        with open_workspace() as workspace:
            return cycle.search(workspace, attempt_id)

    @task(trigger_rule="all_done_min_one_success")
    def choose(attempt_id: int) -> int:
        """Record the best hyperparameters, even if a worker failed. Returns: the attempt's id."""
        from ml import cycle
        from ml.app import open_workspace

        with open_workspace() as workspace:
            cycle.choose_hyperparameters(workspace, attempt_id)
        return attempt_id

    attempt_id = snapshot()
    chosen = choose(attempt_id)  # type: ignore[arg-type]
    chain(search.partial(attempt_id=attempt_id).expand(worker=workers()), chosen)
    train_and_judge(chosen)


tune_hyperparameters()
