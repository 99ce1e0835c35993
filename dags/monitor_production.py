"""Score the model in production every night, and ask for retraining when it is due."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from collections.abc import Iterator
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Metadata, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from dags.assets import RETRAINING_REQUESTED
from dags.task_defaults import TASK_DEFAULTS


@dag(
    # Without the last argument, a DAG first seen shortly after midnight would run at once for the night before.
    schedule=CronTriggerTimetable("@daily", timezone="UTC", run_immediately=timedelta()),
    catchup=False,
    max_active_runs=1,
    tags=["mycoflow", "monitoring"],
    default_args=TASK_DEFAULTS,
)
def monitor_production() -> None:
    """### The nightly check

    1. **check** takes out of the pool whatever the evaluation set has a copy of.
    2. **monitor** scores the champion on the evaluation set (an image that was scored before costs nothing) and on
       distorted photos of it, counts the images that entered the pool since the champion's snapshot, stores all of
       it, and decides. No model in production yet: the task is skipped, and its log says how to get a first one.
    3. **measure_drift** compares what people ask about with what the champion learned from, and estimates its accuracy
       there. It decides nothing.
    4. **is_due** lets **request_retraining** run only when there is a reason. That emits the asset
       `retraining_requested`, with the reason, and so starts the DAG `retrain`.

    All can be cleared and run again.
    """

    @task
    def check() -> None:
        """Look for copies on both sides."""
        from ml import cycle
        from ml.app import open_workspace

        with open_workspace() as workspace:
            cycle.check(workspace)

    @task
    def monitor() -> str:
        """Score, count, decide. Returns the reasons to retrain; empty when there is none."""
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
        """Compare and estimate. What it finds is stored."""
        from ml import cycle
        from ml.app import open_workspace

        with open_workspace() as workspace:
            cycle.measure_drift(workspace)

    @task.short_circuit
    def is_due(reasons: str) -> str:
        """Let the next task run where there are reasons. Returns them."""
        return reasons

    @task(outlets=[RETRAINING_REQUESTED])
    def request_retraining(reason: str) -> Iterator[Metadata]:
        """Emit the asset that starts `retrain`, with the reason."""
        yield Metadata(RETRAINING_REQUESTED, extra={"reason": reason})

    reasons = monitor()
    check() >> reasons
    reasons >> measure_drift()
    request_retraining(is_due(reasons))  # type: ignore[arg-type]


monitor_production()
