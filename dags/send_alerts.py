"""Send what people should hear of, and look for trainings that take too long."""

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

    The tasks that raise alerts send them at their end. Every ten minutes this sends what is left: what could not be
    sent before, and what the service and its people did meanwhile. It also tells of a training that has no verdict
    after MYCOFLOW_TRAINING_BUDGET_MINUTES, and of a model that somebody put into production in MLflow.
    """

    @task
    def send() -> None:
        """Look for what nobody told yet, then send what is unsent. An alert that cannot be sent fails nothing."""
        from ml import cycle
        from ml.reporting.alert_delivery import alerting_workspace

        with alerting_workspace() as workspace:
            cycle.look_around(workspace)

    send()


send_alerts()
