"""The client of Airflow's REST API, against a server that answers as Airflow 3.3 does."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ml.errors import AirflowError, AirflowUnavailableError
from ml.reporting.airflow_api import AirflowClient, DagRun, open_airflow
from ml.settings import load_settings
from tests.scripted_airflow import (
    EXPIRED,
    FORBIDDEN,
    LOGIN,
    OTHER_KEY,
    RUN_ID,
    Answer,
    ScriptedAirflow,
    serve,
)

RUN = DagRun(dag_id="retrain", dag_run_id=RUN_ID, state="queued")
RUNS = "/api/v2/dags/retrain/dagRuns"
RUN_PATH = f"{RUNS}/manual__2026-01-01T00%3A00%3A00%2B00%3A00_a%2Fb"


@pytest.fixture
def airflow() -> Iterator[ScriptedAirflow]:
    scripted = ScriptedAirflow()
    server = serve(scripted)
    yield scripted
    server.end()


def client_of(url: str, **options: Any) -> AirflowClient:
    return AirflowClient(url, **(LOGIN | options))


def refusal(client: AirflowClient, kind: type[AirflowError]) -> str:
    """What the client raises, which must be of exactly this kind."""
    with pytest.raises(AirflowError) as refused:
        client.trigger("finetune", {})
    assert type(refused.value) is kind
    assert LOGIN["password"] not in str(refused.value)
    return str(refused.value)


def test_a_run_is_started_with_its_parameters_and_has_a_page_where_people_reach_airflow(
    airflow: ScriptedAirflow,
) -> None:
    client = client_of(airflow.url + "/", public_url="https://airflow.example.org/")
    run = client.trigger("finetune", {"layers": 3})
    assert airflow.runs == [("/api/v2/dags/finetune/dagRuns", {"logical_date": None, "conf": {"layers": 3}})]
    assert (run.dag_id, run.dag_run_id, run.state) == ("finetune", RUN_ID, "queued")
    page = "https://airflow.example.org/dags/finetune/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00_a%2Fb"
    assert client.page(run) == page


def test_without_an_address_for_people_a_page_is_where_the_client_reaches_airflow(airflow: ScriptedAirflow) -> None:
    client = client_of(airflow.url)
    assert client.page(client.trigger("finetune", {})).startswith(f"{airflow.url}/dags/finetune/runs/manual__")


def test_one_login_serves_many_runs(airflow: ScriptedAirflow) -> None:
    client = client_of(airflow.url)
    for _ in range(3):
        client.trigger("finetune", {})
    assert (airflow.logins, len(airflow.runs)) == (1, 3)


@pytest.mark.parametrize("said", [EXPIRED, OTHER_KEY], ids=["expired", "signed with another key"])
def test_a_token_that_is_good_no_longer_is_replaced_once(airflow: ScriptedAirflow, said: Answer) -> None:
    airflow.to_old_tokens = said
    client = client_of(airflow.url)
    client.trigger("finetune", {})
    airflow.forget_tokens()
    client.trigger("finetune", {})
    client.trigger("finetune", {})
    assert (airflow.logins, len(airflow.runs)) == (2, 3)


def test_requests_at_the_same_moment_share_a_login(airflow: ScriptedAirflow) -> None:
    client = client_of(airflow.url)
    together = threading.Barrier(8)

    def start(_: int) -> str:
        together.wait(60)
        return client.trigger("finetune", {}).dag_run_id

    for logins in (1, 2):
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(start, range(8))) == [RUN_ID] * 8
        assert (airflow.logins, len(airflow.runs)) == (logins, 8 * logins)
        airflow.forget_tokens()


def test_an_airflow_that_was_started_again_is_found_again(airflow: ScriptedAirflow) -> None:
    again = ScriptedAirflow(to_old_tokens=OTHER_KEY)
    server = serve(again)
    client = client_of(again.url)
    client.trigger("finetune", {})
    server.end()
    refusal(client, AirflowUnavailableError)
    again.forget_tokens()
    server = serve(again, server.server_port)
    client.trigger("finetune", {})
    server.end()
    assert (again.logins, len(again.runs)) == (2, 2)


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (*FORBIDDEN, "403: Forbidden"),
        (400, {"detail": "Dag with dag_id: 'finetune' has import errors and cannot be triggered"}, "import errors"),
        (404, {"detail": "Dag with dag_id: 'finetune' not found"}, "404: Dag with dag_id: 'finetune' not found"),
        (409, {"detail": {"reason": "Unique constraint violation", "statement": "hidden"}}, "Unique constraint"),
        (422, {"detail": [{"loc": ["body", "conf"], "msg": "Input should be a valid dictionary"}]}, "valid dictionary"),
        (500, b"Internal Server Error", "500: Internal Server Error"),
        (502, b"<html>" + b"x" * 2_000, "502: <html>"),
        (302, b"", "302: "),
        (200, b"<html>a login page</html>", "a login page"),
        (200, b"\xff\xfe", "200: "),
        (200, {"dag_run_id": None, "state": "queued"}, "200: "),
        (200, ["not", "a", "run"], "200: "),
    ],
    ids=str,
)
def test_a_refusal_is_told_in_airflows_own_words(
    airflow: ScriptedAirflow, status: int, said: object, words: str
) -> None:
    airflow.to_runs = (status, said)
    said_of_it = refusal(client_of(airflow.url), AirflowError)
    assert words in said_of_it
    assert "MYCOFLOW_AIRFLOW_USERNAME" in said_of_it
    assert len(said_of_it) < 1000


def test_what_is_forbidden_is_asked_twice_at_most(airflow: ScriptedAirflow) -> None:
    client = client_of(airflow.url)
    client.trigger("finetune", {})
    airflow.to_runs = FORBIDDEN
    assert "Forbidden" in refusal(client, AirflowError)
    assert airflow.logins == 2


def test_a_wrong_password_is_told_and_tried_again_the_next_time(airflow: ScriptedAirflow) -> None:
    client = client_of(airflow.url, password="wrong")
    for _ in range(2):
        assert "401: Invalid credentials" in refusal(client, AirflowError)
    assert (airflow.logins, airflow.runs) == (2, [])


@pytest.mark.parametrize("said", [b"", b"{}", b'{"access_token": null}', b"[]"])
def test_a_login_without_a_token_is_told(serve_script: Callable[..., int], said: bytes) -> None:
    head = f"HTTP/1.1 201 Created\r\nContent-Length: {len(said)}\r\n\r\n".encode()
    port = serve_script(lambda _, connection: connection.sendall(head + said))
    assert "answered 201" in refusal(client_of(f"http://127.0.0.1:{port}"), AirflowError)


def keep_silent(_: str, connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.recv(1 << 16)  # until the client goes


@pytest.mark.parametrize(
    "misbehave",
    [
        lambda _, connection: None,
        lambda _, connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
        lambda _, connection: connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"),
        keep_silent,
    ],
    ids=["closes", "speaks something else", "breaks off", "keeps silent"],
)
def test_who_does_not_answer_like_airflow_is_told(
    serve_script: Callable[..., int], misbehave: Callable[..., None]
) -> None:
    client = client_of(f"http://127.0.0.1:{serve_script(misbehave)}", seconds_per_answer=0.5)
    assert "MYCOFLOW_AIRFLOW_URL" in refusal(client, AirflowUnavailableError)


def test_where_nobody_listens_is_told(free_port: Callable[[], int]) -> None:
    said = refusal(client_of(f"http://127.0.0.1:{free_port()}"), AirflowUnavailableError)
    assert "MYCOFLOW_AIRFLOW_URL" in said


def test_a_proxy_of_the_environment_is_not_used(
    airflow: ScriptedAirflow, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    client_of(airflow.url).trigger("finetune", {})
    assert len(airflow.runs) == 1


def test_a_post_whose_answer_is_lost_is_not_repeated(serve_script: Callable[..., int]) -> None:
    paths = []

    def lose_runs(path: str, connection: socket.socket) -> None:
        paths.append(path)
        if path == "/auth/token":
            said = b'{"access_token": "one"}'
            # Without `Connection: close`, the client may send the next request before it notices that this one ended.
            head = f"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: {len(said)}\r\n\r\n"
            connection.sendall(head.encode() + said)

    refusal(client_of(f"http://127.0.0.1:{serve_script(lose_runs)}"), AirflowUnavailableError)
    assert paths == ["/auth/token", "/api/v2/dags/finetune/dagRuns"]


def test_a_dag_is_there_once_airflow_has_read_it(airflow: ScriptedAirflow) -> None:
    client = client_of(airflow.url)
    assert not client.has_dag("retrain")
    airflow.pages["/api/v2/dags/retrain"] = {"dag_id": "retrain", "is_paused": False}
    assert client.has_dag("retrain")


def test_an_airflow_that_cannot_say_whether_a_dag_is_there_is_told(airflow: ScriptedAirflow) -> None:
    airflow.pages["/api/v2/dags/retrain"] = ["not", "a", "DAG"]
    with pytest.raises(AirflowError, match="200: "):
        client_of(airflow.url).has_dag("retrain")
    with pytest.raises(AirflowError, match="401: Invalid credentials"):
        client_of(airflow.url, password="wrong").has_dag("retrain")


def test_the_runs_that_an_asset_started_are_listed(airflow: ScriptedAirflow) -> None:
    airflow.pages[f"{RUNS}?run_type=asset_triggered"] = {"dag_runs": [RUN.model_dump()], "total_entries": 1}
    assert client_of(airflow.url).asset_triggered_runs("retrain") == [RUN]


def test_the_state_of_a_run_is_read_anew_with_a_new_token_where_the_old_one_is_refused(
    airflow: ScriptedAirflow,
) -> None:
    client = client_of(airflow.url)
    for state in ("queued", "running", "success"):
        airflow.pages[RUN_PATH] = RUN.model_dump() | {"state": state}
        assert client.run_state(RUN) == state
        airflow.forget_tokens()
    assert airflow.logins == 3


def test_the_tasks_of_a_run_come_in_the_order_in_which_they_started(airflow: ScriptedAirflow) -> None:
    started = datetime.now(UTC) - timedelta(seconds=60)

    def task(task_id: str, state: str | None, start: int | None, end: int | None) -> dict[str, object]:
        dates = [
            None if second is None else (started + timedelta(seconds=second)).isoformat() for second in (start, end)
        ]
        return {"task_id": task_id, "state": state, "start_date": dates[0], "end_date": dates[1], "try_number": 1}

    tasks = [task("gate", None, None, None), task("train", "running", 10, None), task("snapshot", "success", 0, 7)]
    airflow.pages[f"{RUN_PATH}/taskInstances"] = {"task_instances": tasks, "total_entries": 3}
    snapshot, train, gate = client_of(airflow.url).task_states(RUN)
    assert [snapshot.task_id, train.task_id, gate.task_id] == ["snapshot", "train", "gate"]
    assert [snapshot.is_finished, train.is_finished, gate.is_finished] == [True, False, False]
    assert (snapshot.seconds, gate.seconds) == (7, 0)
    assert 50 <= train.seconds < 110  # so far


def test_settings_without_an_account_name_no_airflow(airflow: ScriptedAirflow) -> None:
    account = {"airflow_username": LOGIN["username"], "airflow_password": LOGIN["password"]}
    for missing in account:
        settings = load_settings(airflow_url=airflow.url, **{k: v for k, v in account.items() if k != missing})
        assert open_airflow(settings) is None
    assert open_airflow(load_settings(**account)) is None
    client = open_airflow(load_settings(airflow_url=airflow.url, **account))
    assert client is not None
    assert client.trigger("finetune", {}).dag_run_id == RUN_ID
