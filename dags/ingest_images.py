"""Ingest new images every hour, from the sources that MYCOFLOW_INGEST_SOURCES names."""

# ruff: noqa: PLC0415 - the DAG processor reads this file again and again; only a task that runs pays for imports
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, task

from dags.task_defaults import TASK_DEFAULTS

# cycle.ingest begins no batch after a quarter of an hour. Downloading a collection's tables may come before that, and
# the last batch may end long after it if photos download slowly.
INGEST_TIMEOUT = timedelta(minutes=45)


@dag(
    # Without the last argument, a DAG that Airflow first reads shortly after the hour would run at once.
    schedule=CronTriggerTimetable("@hourly", timezone="UTC", run_immediately=timedelta()),
    catchup=False,
    max_active_runs=1,
    tags=["mycoflow", "ingestion"],
    default_args=TASK_DEFAULTS,
)
def ingest_images() -> None:
    """### New images

    Runs every hour, or by hand. **sources** reads MYCOFLOW_INGEST_SOURCES. If it is empty, the other task is skipped.
    **ingest** runs once per source: it downloads the new files, checks each file, and stores a report per batch. A
    source that fails does not stop the others.

    Unless MYCOFLOW_REQUIRE_CERTIFICATION is false, images wait until an admin certifies them. A batch with too many
    rejected files goes to quarantine and raises an alert. `mycoflow batch list` shows the waiting batches.

    Both tasks can be cleared and run again: a batch is stored completely or not at all, and no file is ingested twice.
    """

    @task
    def sources() -> list[str]:
        """Return the URLs of the sources."""
        from ml.ingest.sources.opening import source_urls
        from ml.settings import load_settings

        return source_urls(load_settings())

    @task(execution_timeout=INGEST_TIMEOUT)
    def ingest(source_url: str) -> list[int]:
        """Ingest the new images of one source. Returns: the numbers of its batches."""
        from ml import cycle
        from ml.reporting.alert_delivery import alerting_workspace

        with alerting_workspace() as workspace:
            return cycle.ingest(workspace, source_url).batch_ids

    ingest.expand(source_url=sources())


ingest_images()
