"""Telling people that a task of a DAG gave up, also where the database is what failed."""

import hashlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from ml.catalog.logs.outbox import Notice, raise_alert
from ml.errors import CatalogError, MycoflowError
from ml.reporting.alert_delivery import alerting_workspace, send_unkept
from ml.reporting.message_links import task_page
from ml.reporting.training_notices import describe_cause, retraining_failed
from ml.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FailedTask:
    """The last try of a task, which failed.

    Args:
        map_index: which copy of a mapped task; -1 for another task.
        is_training: the run is an attempt at a training, named by its id.
        error: the exception where there is one; anything else means that the process died.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    is_training: bool
    error: object


def tell_failure(settings: Settings, failed: FailedTask) -> None:
    """Tell people: through the outbox, or directly where that cannot be written.

    Raises: MycoflowError, neither worked.
    """
    notice = describe_failure(settings, failed)
    try:
        with alerting_workspace(settings) as workspace, workspace.catalog.begin() as connection:
            raise_alert(connection, *notice)
    except CatalogError as error:
        logger.warning("The failure of %s is told without the outbox: %s", failed.task_id, error)
        if _is_first(settings, notice):
            send_unkept(settings, notice)


def describe_failure(settings: Settings, failed: FailedTask) -> Notice:
    """Return what people are told. A training's failure is an event for each try, another task's for each day."""
    if failed.is_training:
        notice = retraining_failed(failed.dag_id, failed.run_id, failed.task_id, failed.try_number, failed.error)
    else:
        notice = _task_failed(failed)
    page = task_page(settings, failed.dag_id, failed.run_id, failed.task_id, failed.map_index)
    return notice if page is None else notice._replace(body=f"{notice.body}\nLog: {page}")


def _task_failed(failed: FailedTask) -> Notice:
    """A task that runs every hour and fails alike each time is told once a day."""
    copy = f"[{failed.map_index}]" if failed.map_index >= 0 else ""
    name, kind = f"{failed.dag_id}.{failed.task_id}{copy}", type(failed.error).__name__
    return Notice(
        "task_failed",
        f"task-failed:{name}:{kind}:{datetime.now(UTC):%Y-%m-%d}",
        f"The task {failed.task_id} of {failed.dag_id} failed",
        f"{describe_cause(failed.error)}\nRun {failed.run_id}. Its log in Airflow says more. The same failure is told "
        "once a day.",
    )


def _is_first(settings: Settings, notice: Notice) -> bool:
    """Whether this machine has not told this yet; there is no outbox that would know."""
    name = hashlib.sha256(notice.event_key.encode()).hexdigest()[:32]
    told = settings.mycoflow_home / "told" / name
    try:
        told.parent.mkdir(parents=True, exist_ok=True)
        told.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError as error:
        raise MycoflowError(f"Expected a folder to write into, got {told.parent}: {error.strerror}.") from error
    return True
