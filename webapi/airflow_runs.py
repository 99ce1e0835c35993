"""Airflow's REST API, version 2: starting a run.

Source: Airflow's OpenAPI document, POST /api/v2/dags/{dag_id}/dagRuns; POST /auth/token of its auth manager.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from flask import Flask, current_app
from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import HTTPError

from ml.settings import Settings
from webapi.problems import unavailable

_TIMEOUT = Timeout(connect=3, read=10)
_SHOWN_CHARACTERS = 500
# Airflow says 401 of a token that has expired, and 403 of one that it signed with a key it has no longer.
_TOKEN_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_EXTENSION = "mycoflow-airflow"


@dataclass(frozen=True)
class DagRun:
    """A run that was started; `url` is its page in Airflow."""

    dag_id: str
    dag_run_id: str
    state: str
    url: str


class AirflowClient:
    """Starts runs. Logs in when it has to, and again when its token is refused. Safe to use from several threads.

    Args:
        url: of the api-server.
        public_url: where people reach it.
        username, password: of an account that may start runs.
    """

    def __init__(self, url: str, public_url: str, username: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._public_url = public_url.rstrip("/")
        self._credentials = {"username": username, "password": password}
        self._http = PoolManager(timeout=_TIMEOUT, retries=False)  # a repeated POST could start two runs
        self._lock = threading.Lock()
        self._token: str | None = None

    def trigger(self, dag_id: str, conf: Mapping[str, object]) -> DagRun:
        """Start a run of a DAG.

        Args: conf, the run's parameters.
        Raises: ProblemError, 503: it does not answer, does not know us, or refuses; in its own words.
        """
        path, body = f"/api/v2/dags/{quote(dag_id)}/dagRuns", {"logical_date": None, "conf": dict(conf)}
        token = self._token
        answer = None if token is None else self._post(path, body, token)
        if answer is None or answer.status in _TOKEN_REFUSED:
            answer = self._post(path, body, self._log_in(refused=token))
        dag_run_id, state = _read(answer, "dag_run_id", "state")
        page = f"{self._public_url}/dags/{quote(dag_id)}/runs/{quote(dag_run_id, safe='')}"
        return DagRun(dag_id, dag_run_id, state, page)

    def _log_in(self, refused: str | None) -> str:
        with self._lock:
            if self._token is None or self._token == refused:  # else another thread was quicker
                (self._token,) = _read(self._post("/auth/token", self._credentials), "access_token")
            return self._token

    def _post(self, path: str, body: Mapping[str, object], token: str | None = None) -> BaseHTTPResponse:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            return self._http.request("POST", self._url + path, json=dict(body), headers=headers)
        except HTTPError as error:
            detail = f"Expected Airflow to answer, and it does not: {error}. Start it, or correct MYCOFLOW_AIRFLOW_URL."
            raise unavailable("airflow-unavailable", detail) from error


def init_app(app: Flask, settings: Settings) -> None:
    """Give an application a client of the Airflow that the settings name. Nothing is connected to yet."""
    url, username, password = settings.airflow_url, settings.airflow_username, settings.airflow_password
    if url is not None and username is not None and password is not None:
        public_url = settings.airflow_public_url or url
        app.extensions[_EXTENSION] = AirflowClient(url, public_url, username, password.get_secret_value())


def current() -> AirflowClient:
    """The client of the application that handles this request.

    Raises: ProblemError, 503, the settings name no Airflow.
    """
    client: AirflowClient | None = current_app.extensions.get(_EXTENSION)
    if client is None:
        detail = (
            "Expected an Airflow to be configured: set MYCOFLOW_AIRFLOW_URL, MYCOFLOW_AIRFLOW_USERNAME and "
            "MYCOFLOW_AIRFLOW_PASSWORD."
        )
        raise unavailable("airflow-not-configured", detail)
    return client


def _read(answer: BaseHTTPResponse, *names: str) -> list[str]:
    """The texts of these names in a good answer."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    values = [body.get(name) for name in names] if isinstance(body, dict) else []
    texts = [value for value in values if isinstance(value, str)]
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES and len(texts) == len(names):
        return texts
    said = body.get("detail", body) if isinstance(body, dict) else answer.data.decode(errors="replace")
    raise unavailable(
        "airflow-refused",
        f"Expected Airflow to start a run. It answered {answer.status}: {str(said)[:_SHOWN_CHARACTERS]}. "
        "Look at MYCOFLOW_AIRFLOW_URL, at the account in MYCOFLOW_AIRFLOW_USERNAME, and at Airflow's log.",
    )
