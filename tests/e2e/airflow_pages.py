"""What a person sees and does on Airflow's pages, which use the same REST API."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from stack.secret_files import ADMIN

_RETRAIN = "/api/v2/dags/retrain"


@dataclass(frozen=True)
class AirflowPages:
    """The pages of the runs of `retrain`, for the user `admin`."""

    url: str
    password: str

    def clear(self, dag_run_id: str, task_id: str) -> None:
        """What the button "Clear" does: this task and those after it."""
        body = {"dry_run": False, "dag_run_id": dag_run_id, "task_ids": [task_id], "include_downstream": True}
        body |= {"only_failed": False, "reset_dag_runs": True}
        with self._logged_in() as client:
            client.post(f"{_RETRAIN}/clearTaskInstances", json=body).raise_for_status()

    def question(self, dag_run_id: str) -> dict[str, Any] | None:
        """What is asked under required actions, if it is by now."""
        with self._logged_in() as client:
            answer = client.get(f"{_RETRAIN}/dagRuns/{dag_run_id}/hitlDetails").raise_for_status()
        return next(iter(answer.json()["hitl_details"]), None)

    def answer(self, dag_run_id: str, option: str) -> None:
        """What a click on one of its options does."""
        path = f"{_RETRAIN}/dagRuns/{dag_run_id}/taskInstances/approval/-1/hitlDetails"
        with self._logged_in() as client:
            client.patch(path, json={"chosen_options": [option], "params_input": {}}).raise_for_status()

    def links(self, dag_run_id: str, task_id: str) -> dict[str, str | None]:
        """The extra links on a task's page."""
        path = f"{_RETRAIN}/dagRuns/{dag_run_id}/taskInstances/{task_id}/links"
        with self._logged_in() as client:
            links: dict[str, str | None] = client.get(path).raise_for_status().json()["extra_links"]
        return links

    @contextmanager
    def _logged_in(self) -> Iterator[httpx.Client]:
        login = {"username": ADMIN, "password": self.password}
        with httpx.Client(base_url=self.url, trust_env=False, timeout=30) as client:
            token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield client
