"""Score the model in production every night, and request retraining when it is due."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from collections.abc import Iterator
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Metadata, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from dags.assets import RETRAINING_REQUESTED
from dags.photo_index import index_photos
from dags.task_defaults import TASK_DEFAULTS


@dag(
    # Without the last argument, a DAG that Airflow first reads shortly after midnight would run at once.
    schedule=CronTriggerTimetable("@daily", timezone="UTC", run_immediately=timedelta()),
    catchup=False,
    max_active_runs=1,
    tags=["mycoflow", "monitoring"],
    default_args=TASK_DEFAULTS,
)
def monitor_production() -> None:
    """### The nightly check

    1. **check** removes images from the pool that are copies of images in the evaluation set.
    2. **monitor** scores the champion on the evaluation set and on distorted photos of it. Only images without a stored
       answer are computed. It counts the images that entered the pool since the champion's snapshot, stores all
       figures, and decides about retraining. Without a model in production the task is skipped, and its log says how
       to train the first one.
    3. **measure_drift** compares recent predictions with the champion's training data, and estimates the accuracy on
       them. It does not decide about retraining.
    4. **index_photos** adds new photos of the pool to the index of known photos. The service finds photos there that
       are similar to the one of a prediction.
    5. **is_due** runs **request_retraining** only if there is a reason. That task emits the asset
       `retraining_requested` with the reason, which starts the DAG `retrain`.

    All tasks can be cleared and run again.
    """

    @task
    def check() -> None:
        """Remove copies of evaluation images from the pool."""
        from ml import cycle
        from ml.app import open_workspace

        with open_workspace() as workspace:
            cycle.check(workspace)

    @task
    def monitor() -> str:
        """Score, count, decide. Returns: the reasons for a retraining; empty without one."""
        from ml import cycle
        from ml.errors import NoChampionError
        from ml.reporting.alert_delivery import alerting_workspace

        with alerting_workspace() as workspace:
            try:
                return " ".join(cycle.monitor(workspace).reasons)
            except NoChampionError as error:
                raise AirflowSkipException(str(error)) from error

    @task
    def measure_drift() -> None:
        """Measure drift, estimate the accuracy, and store both."""
        from ml import cycle
        from ml.app import open_workspace

        with open_workspace() as workspace:
            cycle.measure_drift(workspace)

    @task.short_circuit
    def is_due(reasons: str) -> str:
        """Let the next task run if there are reasons. Returns: the reasons."""
        return reasons

    @task(outlets=[RETRAINING_REQUESTED])
    def request_retraining(reason: str) -> Iterator[Metadata]:
        """Emit the asset that starts `retrain`, with the reason."""
        yield Metadata(RETRAINING_REQUESTED, extra={"reason": reason})

    reasons = monitor()
    check() >> reasons
    reasons >> [measure_drift(), index_photos()]
    request_retraining(is_due(reasons))  # type: ignore[arg-type]


monitor_production()
