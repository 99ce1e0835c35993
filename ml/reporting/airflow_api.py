"""The client of Airflow's REST API, version 2. The service starts runs with it, and the stack follows them.

Source: Airflow's OpenAPI document; POST /auth/token of its auth manager.
"""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import HTTPError

from ml.errors import AirflowError, AirflowUnavailableError
from ml.settings import Settings

_SECONDS_TO_CONNECT = 3
_SHOWN_CHARACTERS = 500
_FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
# Airflow answers 401 to an expired token, and 403 to one that it signed with a key it no longer has.
_TOKEN_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class DagRun(_Answer):
    """A run of a DAG. Its state is queued, running, success or failed."""

    dag_id: str
    dag_run_id: str
    state: str
    queued_at: AwareDatetime | None = None
    end_date: AwareDatetime | None = None

    @property
    def is_finished(self) -> bool:
        return self.state in _FINISHED


class TaskState(_Answer):
    """One task of a run. Its state is None until the scheduler has looked at it. The dates are the latest try's."""

    task_id: str
    state: str | None
    start_date: AwareDatetime | None
    end_date: AwareDatetime | None
    try_number: int

    @property
    def is_finished(self) -> bool:
        return self.state in _FINISHED

    @property
    def seconds(self) -> float:
        """The duration of the latest try so far."""
        if self.start_date is None:
            return 0.0
        return ((self.end_date or datetime.now(UTC)) - self.start_date).total_seconds()


class Approval(_Answer):
    """A question of a DAG that waits for a person. Args: body, Markdown; options, of which one is the answer."""

    class _Task(_Answer):
        dag_id: str
        dag_run_id: str
        task_id: str
        state: str | None

    task_instance: _Task
    subject: str
    body: str | None = None
    options: list[str]
    created_at: AwareDatetime

    @property
    def run_id(self) -> str:
        return self.task_instance.dag_run_id


class _Token(_Answer):
    access_token: str


class _Dag(_Answer):
    dag_id: str


class _DagRuns(_Answer):
    dag_runs: list[DagRun]


class _Approvals(_Answer):
    hitl_details: list[Approval]


class _Tasks(_Answer):
    task_instances: list[TaskState]


_Shape = TypeVar("_Shape", bound=_Answer)


class AirflowClient:
    """Logs in at its first request, and again when its token is refused. Safe to use from several threads.

    It uses no proxy of the environment, and repeats no request that Airflow may have begun.
    All methods raise AirflowUnavailableError (no answer) and AirflowError (a refusal, in Airflow's words).

    Args:
        url: of the api-server.
        username, password: of an account that may do what is asked.
        public_url: where people reach Airflow; url when None.
        seconds_per_answer: Airflow may take this long.
    """

    def __init__(
        self, url: str, username: str, password: str, public_url: str | None = None, seconds_per_answer: float = 10
    ) -> None:
        self._url = url.rstrip("/")
        self._public_url = public_url or url
        self._credentials = {"username": username, "password": password}
        timeout = Timeout(connect=_SECONDS_TO_CONNECT, read=seconds_per_answer)
        self._http = PoolManager(timeout=timeout, retries=False)  # a repeated POST could start two runs
        self._lock = threading.Lock()
        self._token: str | None = None

    def has_dag(self, dag_id: str) -> bool:
        """Whether the DAG processor has read this DAG."""
        answer = self._ask("GET", _dag(dag_id))
        return answer.status != HTTPStatus.NOT_FOUND and bool(_read(answer, _Dag, "to show a DAG"))

    def trigger(self, dag_id: str, conf: Mapping[str, object]) -> DagRun:
        """Start a run of a DAG. Args: conf, the run's parameters."""
        answer = self._ask("POST", _runs(dag_id), body={"logical_date": None, "conf": dict(conf)})
        return _read(answer, DagRun, "to start a run")

    def asset_triggered_runs(self, dag_id: str) -> list[DagRun]:
        """Return the runs that an asset started."""
        answer = self._ask("GET", _runs(dag_id), query={"run_type": "asset_triggered"})
        return _read(answer, _DagRuns, "to list runs").dag_runs

    def recent_runs(self, dag_id: str, count: int) -> list[DagRun]:
        """Return the latest runs of a DAG, newest first."""
        answer = self._ask("GET", _runs(dag_id), query={"order_by": "-run_after", "limit": str(count)})
        return _read(answer, _DagRuns, "to list runs").dag_runs

    def find_run(self, dag_id: str, dag_run_id: str) -> DagRun | None:
        """Return a run; None if there is none."""
        run = DagRun(dag_id=dag_id, dag_run_id=dag_run_id, state="")
        answer = self._ask("GET", _run(run))
        return None if answer.status == HTTPStatus.NOT_FOUND else _read(answer, DagRun, "to show a run")

    def waiting_approvals(self) -> list[Approval]:
        """Return the questions of all DAGs that wait for a person, oldest first."""
        query = {"response_received": "false", "order_by": "created_at"}
        answer = self._ask("GET", "/api/v2/dags/~/dagRuns/~/hitlDetails", query=query)
        found = _read(answer, _Approvals, "to list what waits for a person").hitl_details
        return [each for each in found if each.task_instance.state not in _FINISHED]

    def answer(self, approval: Approval, option: str, answered_by: str) -> None:
        """Answer a question. Args: answered_by, the person for whom this account answers; a parameter of the answer."""
        at = approval.task_instance
        run = DagRun(dag_id=at.dag_id, dag_run_id=at.dag_run_id, state="")
        path = f"{_run(run)}/taskInstances/{quote(at.task_id)}/-1/hitlDetails"
        body = {"chosen_options": [option], "params_input": {"answered_by": answered_by}}
        _read(self._ask("PATCH", path, body=body), _Answer, "to take the answer")

    def run_state(self, run: DagRun) -> str:
        """Return the state that a run has now."""
        return _read(self._ask("GET", _run(run)), DagRun, "to show a run").state

    def task_states(self, run: DagRun) -> list[TaskState]:
        """Return the tasks of a run, in the order in which they started."""
        answer = self._ask("GET", f"{_run(run)}/taskInstances")
        tasks = _read(answer, _Tasks, "to list tasks").task_instances
        return sorted(tasks, key=lambda task: task.start_date or datetime.max.replace(tzinfo=UTC))

    def page(self, run: DagRun) -> str:
        """Return the address of a run's page, for people."""
        return run_page(self._public_url, run.dag_id, run.dag_run_id)

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> BaseHTTPResponse:
        token = self._token
        answer = None if token is None else self._send(method, path, query, body, token)
        if answer is None or answer.status in _TOKEN_REFUSED:
            answer = self._send(method, path, query, body, self._log_in(refused=token))
        return answer

    def _log_in(self, refused: str | None) -> str:
        with self._lock:
            if self._token is None or self._token == refused:  # else another thread was quicker
                answer = self._send("POST", "/auth/token", body=self._credentials)
                self._token = _read(answer, _Token, "to accept the login").access_token
            return self._token

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        token: str | None = None,
    ) -> BaseHTTPResponse:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            return self._http.request(method, self._url + path, fields=query, json=body, headers=headers)
        except HTTPError as error:
            raise AirflowUnavailableError(
                f"Expected Airflow to answer, and it does not: {error}. Start it, or correct MYCOFLOW_AIRFLOW_URL."
            ) from error


def open_airflow(settings: Settings) -> AirflowClient | None:
    """Return a client of the Airflow that the settings name; None where they name none. It sends no request yet."""
    url, username, password = settings.airflow_url, settings.airflow_username, settings.airflow_password
    if url is None or username is None or password is None:
        return None
    return AirflowClient(url, username, password.get_secret_value(), settings.airflow_public_url)


def run_page(airflow: str, dag_id: str, dag_run_id: str) -> str:
    """Return the address of a run's page. Args: airflow, where people reach Airflow."""
    return f"{airflow.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(dag_run_id, safe='')}"


def _dag(dag_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id)}"


def _runs(dag_id: str) -> str:
    return f"{_dag(dag_id)}/dagRuns"


def _run(run: DagRun) -> str:
    return f"{_runs(run.dag_id)}/{quote(run.dag_run_id, safe='')}"


def _read(answer: BaseHTTPResponse, shape: type[_Shape], task: str) -> _Shape:
    """What a good answer says. Raises: AirflowError, any other answer."""
    try:
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return shape.model_validate_json(answer.data)
    except ValidationError:  # something else answers there, such as a login page
        pass
    raise AirflowError(
        f"Expected Airflow {task}. It answered {answer.status}: {_said(answer)[:_SHOWN_CHARACTERS]}. "
        "Check the address (MYCOFLOW_AIRFLOW_URL), the account (MYCOFLOW_AIRFLOW_USERNAME), and Airflow's log."
    )


def _said(answer: BaseHTTPResponse) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.data.decode(errors="replace")
    return str(body.get("detail", body) if isinstance(body, dict) else body)
