"""A client for the part of Airflow's REST API, version 2, that the demo needs."""

from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx

from stack.secret_files import ADMIN

FINISHED = ("success", "failed", "skipped", "upstream_failed", "removed")


@dataclass(frozen=True)
class TaskState:
    """One task of a run. Args: seconds, duration of the latest try so far."""

    task_id: str
    state: str
    seconds: float
    try_number: int

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED


class AirflowClient:
    """A logged-in client.

    Args: url of the api-server; password of the user `admin`.
    """

    def __init__(self, url: str, password: str) -> None:
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=30)
        answer = self._client.post("/auth/token", json={"username": ADMIN, "password": password}).raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def has_dag(self, dag_id: str) -> bool:
        """Whether the DAG processor has read this DAG."""
        return self._client.get(f"/api/v2/dags/{dag_id}").is_success

    def trigger(self, dag_id: str, parameters: dict[str, object]) -> str:
        """Start a run. Returns: its id."""
        body = {"logical_date": None, "conf": parameters}
        answer = self._client.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body).raise_for_status()
        return str(answer.json()["dag_run_id"])

    def asset_triggered_runs(self, dag_id: str) -> list[str]:
        """Return the ids of the runs that an asset started."""
        runs = self._get(f"/api/v2/dags/{dag_id}/dagRuns", run_type="asset_triggered")["dag_runs"]
        return [run["dag_run_id"] for run in runs]

    def run_state(self, dag_id: str, dag_run_id: str) -> str:
        """Return the state of a run: queued, running, success or failed."""
        return str(self._get(f"/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}")["state"])

    def task_states(self, dag_id: str, dag_run_id: str) -> list[TaskState]:
        """Return the tasks of a run, in the order in which they started."""
        tasks = self._get(f"/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances")["task_instances"]
        tasks.sort(key=lambda task: task["start_date"] or "9")
        return [
            TaskState(task["task_id"], task["state"] or "waiting", _seconds(task), task["try_number"]) for task in tasks
        ]

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.get(path, params=parameters).raise_for_status().json()
        return answer


def _seconds(task: dict[str, Any]) -> float:
    if task["start_date"] is None:
        return 0.0
    end = datetime.fromisoformat(task["end_date"]) if task["end_date"] else datetime.now(UTC)
    return (end - datetime.fromisoformat(task["start_date"])).total_seconds()
