"""Follow an Airflow run to its end, and print one line per finished task."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.status import Status

from ml.deadlines import Deadline
from ml.errors import MycoflowError
from ml.reporting.airflow_api import AirflowClient, DagRun, TaskState
from ml.settings import Settings
from stack.environment import Addresses
from stack.secret_files import ADMIN, airflow_secrets

Found = TypeVar("Found")
POLL_SECONDS = 0.5
SECONDS_PER_ANSWER = 30  # Airflow shares a small machine with the trainings
MARKS = {"success": "[green]done[/]", "skipped": "[yellow]skipped[/]"}


@dataclass(frozen=True)
class FollowedRun:
    """A finished run, and the duration of each of its tasks."""

    dag_id: str
    dag_run_id: str
    state: str
    task_seconds: dict[str, float]


def open_own_airflow(settings: Settings, addresses: Addresses) -> AirflowClient:
    """Return a client of the stack's own Airflow, as its admin. It sends no request yet."""
    password = airflow_secrets(settings.mycoflow_home / "airflow").admin_password
    return AirflowClient(addresses.airflow, ADMIN, password, seconds_per_answer=SECONDS_PER_ANSWER)


def follow_run(airflow: AirflowClient, run: DagRun, console: Console, logs: Path) -> FollowedRun:
    """Show the tasks of a run until it has ended.

    Args: logs, Airflow's folder of task logs, for the message of a failure.
    Raises: MycoflowError, the run failed; AirflowError.
    """
    dag_id = run.dag_id
    shown: set[str] = set()
    with console.status(f"{dag_id}: waiting for the scheduler") as status:
        while True:
            state = airflow.run_state(run)  # read before the tasks, so that the last ones are shown too
            tasks = airflow.task_states(run)
            _show(tasks, shown, console, status, dag_id)
            if state in ("success", "failed"):
                break
            time.sleep(POLL_SECONDS)
    if state == "failed":
        failed = ", ".join(task.task_id for task in tasks if task.state == "failed")
        raise MycoflowError(f"Expected {dag_id} to succeed, but it failed in: {failed}. Its log is in {logs}.")
    return FollowedRun(dag_id, run.dag_run_id, state, {task.task_id: round(task.seconds, 1) for task in tasks})


def wait_for(what: str, look: Callable[[], Found | None], timeout_seconds: float) -> Found:
    """Call `look` repeatedly until it returns something other than None, and return that.

    Args: what, the awaited event in words, for the message.
    Raises: MycoflowError, `look` returned only None within the time.
    """
    deadline = Deadline(timeout_seconds)
    while (found := look()) is None:
        if not deadline.remaining():
            raise MycoflowError(f"Expected {what} within {timeout_seconds:.0f} s, but it did not come.")
        time.sleep(POLL_SECONDS)
    return found


def _show(tasks: list[TaskState], shown: set[str], console: Console, status: Status, dag_id: str) -> None:
    for task in tasks:
        if task.state is None:
            continue
        if task.is_finished and task.task_id not in shown:
            shown.add(task.task_id)
            mark = MARKS.get(task.state, f"[red]{task.state}[/]")
            again = f" (try {task.try_number})" if task.try_number > 1 else ""
            console.print(f"  {f'{dag_id}.{task.task_id}':<40} {mark} {task.seconds:6.1f} s{again}", highlight=False)
        elif not task.is_finished:
            status.update(f"{dag_id}.{task.task_id}: {task.state}, {task.seconds:.0f} s")
