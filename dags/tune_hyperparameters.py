"""Tune: a search for hyperparameters by several workers, whose best head is judged like any retraining."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from datetime import timedelta
from typing import Any

from airflow.sdk import Param, chain, dag, task

from dags.task_defaults import TASK_DEFAULTS
from dags.training_steps import SNAPSHOT_PARAMS, TRAINING_RUNS, train_and_judge

# A try that ran out of time is made again, and goes on with the trials that are left.
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
            description="Heads to train in the search, all workers together",
        ),
        "workers": Param(
            2,
            type="integer",
            minimum=1,
            maximum=32,
            title="Workers",
            description="Tasks that run trials side by side, as far as Airflow has room for them",
        ),
    },
    default_args=TASK_DEFAULTS,
)
def tune_hyperparameters() -> None:
    """### Search for better hyperparameters

    Runs by hand with parameters.

    **snapshot** pins the newest pool images. **search**, once per worker, trains one head after the other on their
    features, as Optuna suggests, until the shared study has had its trials; heads that fall behind are given up early.
    A trial that fails, or whose worker dies, costs no more than itself. **choose** records the best hyperparameters by
    accuracy on the validation fold, and draws the search in MLflow. The other steps are those of `retrain`: what
    passes the gate, on an evaluation set that the search never saw, ends in production.

    One run is one attempt and one study, named by the run's id: a failed task can be cleared and run again.
    """

    @task
    def snapshot(**context: Any) -> int:
        """Pin what to learn from. Returns the attempt's id."""
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
        """Number the workers: there is one `search` for each."""
        return list(range(context["params"]["workers"]))

    @task(execution_timeout=SEARCH_TIMEOUT)
    def search(attempt_id: int, worker: int) -> int:
        """Run trials of the shared study until it has had enough. Returns how many ran here."""
        from ml import cycle
        from ml.app import open_workspace

        with open_workspace() as workspace:
            return cycle.search(workspace, attempt_id)

    @task(trigger_rule="all_done_min_one_success")
    def choose(attempt_id: int) -> int:
        """Record the best hyperparameters, also where a worker gave up. Returns the attempt's id."""
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
