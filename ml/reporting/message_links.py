"""Links for a message to the place where a person can act: Airflow's run or question, the report, the runbook."""

from urllib.parse import quote

from ml.catalog.logs.outbox import Kind
from ml.reporting.airflow_api import run_page
from ml.settings import Settings

_GUIDE = "docs/operations.md"
# Anchors of the guide's headings.
RUNBOOKS: dict[Kind, str] = {
    "below_floor": "accuracybelowfloor",
    "new_images": "retrainingmissing",
    "retraining_failed": "retrainingfailed",
    "retraining_overdue": "retrainingmissing",
    "task_failed": "failed-tasks",
    "not_served": "championnotserved",
    "quarantine": "batches-in-quarantine",
    "promotion_waiting": "promotions-that-wait",
    "promoted": "moves-of-the-alias",
    "rolled_back": "moves-of-the-alias",
    "moved_externally": "moves-of-the-alias",
}
# These messages name their own run in Airflow; all other kinds link to the report.
_OF_AIRFLOW = frozenset({"retraining_failed", "task_failed", "promotion_waiting", "retraining_overdue"})


def add_links(kind: Kind, body: str, settings: Settings) -> str:
    """Return a message's text with one line per link. Without addresses in the settings, only the guide is linked."""
    return "\n".join([body, *_links(kind, settings)])


def task_page(settings: Settings, dag_id: str, run_id: str, task_id: str, map_index: int) -> str | None:
    """Return the address of a task's log in Airflow; None where the settings name no Airflow."""
    airflow = airflow_address(settings)
    if airflow is None:
        return None
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    return f"{run_page(airflow, dag_id, run_id)}/tasks/{quote(task_id)}{mapped}"


def questions_page(settings: Settings) -> str | None:
    """Return the address where a waiting approval is answered: on the service's pages, else in Airflow.

    Returns: None where the settings name neither.
    """
    if settings.public_url is not None:
        return f"{settings.public_url.rstrip('/')}/versions"
    airflow = airflow_address(settings)
    return None if airflow is None else f"{airflow}/required_actions?response_received=false"


def runs_page(settings: Settings) -> str | None:
    """Return the address of the runs in Airflow; None where the settings name no Airflow."""
    airflow = airflow_address(settings)
    return None if airflow is None else f"{airflow}/dag_runs"


def guide_page(kind: Kind, settings: Settings) -> str | None:
    """Return the address of the guide on a kind of event; None where the settings name no guide."""
    return None if settings.runbook_url is None else f"{settings.runbook_url}#{RUNBOOKS[kind]}"


def _links(kind: Kind, settings: Settings) -> list[str]:
    questions, runs = questions_page(settings), runs_page(settings)
    links = [f"What to do: {settings.runbook_url or _GUIDE}#{RUNBOOKS[kind]}"]
    if questions is not None and kind == "promotion_waiting":
        links.insert(0, f"Answer: {questions}")
    if runs is not None and kind == "retraining_overdue":
        links.insert(0, f"Runs: {runs}")
    if settings.public_url is not None and kind not in _OF_AIRFLOW:
        links.insert(0, f"Report: {settings.public_url.rstrip('/')}/health/report")
    return links


def airflow_address(settings: Settings) -> str | None:
    """Return Airflow's address for people; None where the settings name no Airflow."""
    url = settings.airflow_public_url or settings.airflow_url
    return None if url is None else url.rstrip("/")
