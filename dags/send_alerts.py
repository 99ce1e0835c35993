"""Send pending alerts, and look for trainings that take too long."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, task

from dags.task_defaults import TASK_DEFAULTS


@dag(
    schedule=CronTriggerTimetable("*/10 * * * *", timezone="UTC", run_immediately=timedelta()),
    catchup=False,
    max_active_runs=1,
    tags=["mycoflow", "monitoring"],
    default_args=TASK_DEFAULTS,
)
def send_alerts() -> None:
    """### Send alerts

    The tasks that raise alerts send them at their end. Every ten minutes, this DAG sends the remaining ones: alerts
    that could not be sent before, and alerts from the service. It also raises an alert for a training that has no
    verdict after MYCOFLOW_TRAINING_BUDGET_MINUTES, and for a model that somebody put into production in MLflow.
    """

    @task
    def send() -> None:
        """Look for events without an alert, then send pending alerts. Failing to send does not fail the task."""
        from ml import cycle
        from ml.reporting.alert_delivery import alerting_workspace

        with alerting_workspace() as workspace:
            cycle.raise_due_alerts(workspace)

    send()


send_alerts()
