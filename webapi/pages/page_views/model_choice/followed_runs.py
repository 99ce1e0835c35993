"""The runs in Airflow that people start, follow and answer on the pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flask import request
from flask_babel import gettext as _

from ml.errors import AirflowError
from ml.reporting.airflow_api import AirflowClient, Approval, DagRun, TaskState
from ml.reporting.version_reports.training_outcome import Outcome, find_outcome
from webapi import application_state
from webapi.access.authentication import current_actor
from webapi.application_state import current_airflow, current_catalog
from webapi.pages.form_pages import page_argument
from webapi.problems import ProblemError

DagId = Literal["retrain", "finetune", "register_model", "tune_hyperparameters", "monitor_production"]
_TRAININGS: tuple[DagId, ...] = ("retrain", "finetune", "register_model", "tune_hyperparameters")
_RUNS_PER_DAG = 3
_RUNS = 6


@dataclass(frozen=True)
class Recent:
    """What the list of versions shows of Airflow. Args: is_down, Airflow is in the settings and does not answer."""

    runs: Sequence[DagRun] = ()
    waiting: Sequence[Approval] = ()
    is_configured: bool = True
    is_down: bool = False


@dataclass(frozen=True)
class FollowedRun:
    """A run with its tasks. Args: page, its address in Airflow; outcome, None before the training's snapshot."""

    run: DagRun
    tasks: Sequence[TaskState]
    page: str
    outcome: Outcome | None
    is_waiting: bool


@dataclass(frozen=True)
class Waiting:
    """A question that waits for a person. Args: outcome, with the verdict on the version that it is about."""

    approval: Approval
    page: str
    outcome: Outcome | None


def read_recent() -> Recent:
    """Read the latest trainings and all waiting questions; nothing if Airflow does not answer."""
    airflow = application_state.current().airflow
    if airflow is None:
        return Recent(is_configured=False)
    try:
        runs = [run for dag_id in _TRAININGS for run in airflow.recent_runs(dag_id, _RUNS_PER_DAG)]
        waiting = airflow.waiting_approvals()
    except AirflowError:
        return Recent(is_down=True)
    newest = sorted(runs, key=lambda run: run.queued_at.timestamp() if run.queued_at else 0.0, reverse=True)
    return Recent(newest[:_RUNS], waiting)


def read_run(dag_id: DagId) -> FollowedRun:
    """Read the run that the page's address names.

    Raises: ProblemError, there is no such run.
    """
    airflow, run_id = current_airflow(), page_argument("run") or ""
    run = airflow.find_run(dag_id, run_id) if run_id else None
    if run is None:
        raise ProblemError(404, "unknown-run", f"Expected the id of a run of {dag_id}, got another.")
    tasks = airflow.task_states(run)
    waiting = not run.is_finished and any(task.task_id == "approval" and task.try_number for task in tasks)
    return FollowedRun(
        run, tasks, airflow.page(run), find_outcome(current_catalog(), run_id), waiting and _is_waiting(airflow, run)
    )


def find_approval() -> Waiting:
    """Find the waiting question of the run that the page's address names.

    Raises: ProblemError, no question of this run waits.
    """
    airflow, run_id = current_airflow(), page_argument("run")
    for approval in airflow.waiting_approvals():
        if approval.run_id == run_id:
            at = approval.task_instance
            run = DagRun(dag_id=at.dag_id, dag_run_id=at.dag_run_id, state="")
            return Waiting(approval, airflow.page(run), find_outcome(current_catalog(), run_id))
    raise ProblemError(404, "no-approval", "Expected a run that waits for an answer, got another. Perhaps it has one.")


def answer_approval() -> DagRun:
    """Answer the question with the option of the form, for the current account. Returns: the run.

    Raises: ProblemError, no question waits, or the option is none of its own.
    """
    approval, option = find_approval().approval, request.form.get("option", "")
    if option not in approval.options:
        raise ProblemError(422, "invalid-request", f"option: expected one of {approval.options}, got {option!r}.")
    current_airflow().answer(approval, option, current_actor())
    at = approval.task_instance
    return DagRun(dag_id=at.dag_id, dag_run_id=at.dag_run_id, state="")


def describe_option(option: str) -> str:
    """Return an option of a question in the reader's language."""
    words = {"Promote the challenger": _("Promote the challenger"), "Keep the champion": _("Keep the champion")}
    return str(words.get(option, option))


def _is_waiting(airflow: AirflowClient, run: DagRun) -> bool:
    return any(approval.run_id == run.dag_run_id for approval in airflow.waiting_approvals())
