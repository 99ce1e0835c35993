"""The client of Airflow's REST API, against a server that answers as Airflow 3.3 does.

tests/deploy/services/test_airflow_services.py lets it start a run in a real Airflow.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from urllib3 import Timeout

from ml.catalog.database import Catalog
from ml.catalog.models.backbone_records import StoredBackbone, save_backbone
from ml.catalog.models.model_versions import ModelVersion, save_model_version
from ml.errors import SettingsError
from ml.settings import Settings, load_settings, variable
from webapi.airflow_runs import AirflowClient
from webapi.problems import ProblemError

LOGIN = {"username": "web", "password": "correct horse battery"}
RUN_ID = "manual__2026-01-01T00:00:00+00:00_a/b"
Answer = tuple[int, object]
EXPIRED: Answer = (401, {"detail": "Token Expired"})
OTHER_KEY: Answer = (403, {"detail": "Invalid JWT token"})  # after a start with another secret
FORBIDDEN: Answer = (403, {"detail": "Forbidden"})


@dataclass
class ScriptedAirflow:
    """Stands for Airflow, which lies outside.

    Args:
        to_old_tokens: the answer to every token but the newest.
        to_runs: the answer to whoever wants a run, None for a run.
    """

    url: str = ""
    to_old_tokens: Answer = EXPIRED
    to_runs: Answer | None = None
    logins: int = 0
    tokens: int = 0
    runs: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def forget_tokens(self) -> None:
        self.tokens += 1

    def answer(self, path: str, authorization: str | None, body: dict[str, Any]) -> Answer:
        if path == "/auth/token":
            self.logins += 1
            if body != LOGIN:
                return 401, {"detail": "Invalid credentials"}
            self.tokens += 1
            return 201, {"access_token": f"token-{self.tokens}"}
        if authorization != f"Bearer token-{self.tokens}":
            return self.to_old_tokens
        if self.to_runs is not None:
            return self.to_runs
        self.runs.append((path, body))
        dag_id = path.split("/")[4]
        return 200, {"dag_run_id": RUN_ID, "dag_id": dag_id, "state": "queued", "logical_date": None, **body}


class Server(ThreadingHTTPServer):
    """Ends its open connections when it ends, as a process does."""

    daemon_threads, block_on_close = True, False

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.connections: list[socket.socket] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with suppress(OSError):  # ended already
                connection.shutdown(socket.SHUT_RDWR)


def serve(airflow: ScriptedAirflow, port: int = 0) -> Server:
    """Let it listen."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # with connections that stay open, as uvicorn's

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, said = airflow.answer(self.path, self.headers["Authorization"], body)
            content = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = Server(port, Handler)
    airflow.url = f"http://127.0.0.1:{server.server_port}"
    return server


@pytest.fixture
def airflow() -> Iterator[ScriptedAirflow]:
    scripted = ScriptedAirflow()
    server = serve(scripted)
    yield scripted
    server.end()


def client_of(url: str, **credentials: str) -> AirflowClient:
    return AirflowClient(url, "https://airflow.example.org/", **(LOGIN | credentials))


def refusal(client: AirflowClient) -> ProblemError:
    with pytest.raises(ProblemError) as refused:
        client.trigger("finetune", {})
    assert refused.value.status == 503
    assert dict(refused.value.headers)["Retry-After"]
    assert LOGIN["password"] not in refused.value.detail
    return refused.value


def test_a_run_is_started_with_its_parameters_and_has_a_page_where_people_reach_airflow(
    airflow: ScriptedAirflow,
) -> None:
    run = client_of(airflow.url + "/").trigger("finetune", {"layers": 3})
    assert airflow.runs == [("/api/v2/dags/finetune/dagRuns", {"logical_date": None, "conf": {"layers": 3}})]
    assert (run.dag_id, run.dag_run_id, run.state) == ("finetune", RUN_ID, "queued")
    page = "https://airflow.example.org/dags/finetune/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00_a%2Fb"
    assert run.url == page


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
    assert refusal(client).slug == "airflow-unavailable"
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
        (502, b"<html>" + b"x" * 100_000, "502: <html>"),
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
    refused = refusal(client_of(airflow.url))
    assert refused.slug == "airflow-refused"
    assert words in refused.detail
    assert "MYCOFLOW_AIRFLOW_USERNAME" in refused.detail
    assert len(refused.detail) < 1000


def test_what_is_forbidden_is_asked_twice_at_most(airflow: ScriptedAirflow) -> None:
    client = client_of(airflow.url)
    client.trigger("finetune", {})
    airflow.to_runs = FORBIDDEN
    assert "Forbidden" in refusal(client).detail
    assert airflow.logins == 2


def test_a_wrong_password_is_told_and_tried_again_the_next_time(airflow: ScriptedAirflow) -> None:
    client = client_of(airflow.url, password="wrong")
    for _ in range(2):
        assert "401: Invalid credentials" in refusal(client).detail
    assert (airflow.logins, airflow.runs) == (2, [])


@pytest.mark.parametrize("said", [b"", b"{}", b'{"access_token": null}', b"[]"])
def test_a_login_without_a_token_is_told(serve_script: Callable[..., int], said: bytes) -> None:
    head = f"HTTP/1.1 201 Created\r\nContent-Length: {len(said)}\r\n\r\n".encode()
    port = serve_script(lambda _, connection: connection.sendall(head + said))
    assert "answered 201" in refusal(client_of(f"http://127.0.0.1:{port}")).detail


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
    serve_script: Callable[..., int], misbehave: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapi.airflow_runs._TIMEOUT", Timeout(0.5))
    refused = refusal(client_of(f"http://127.0.0.1:{serve_script(misbehave)}"))
    assert refused.slug == "airflow-unavailable"
    assert "MYCOFLOW_AIRFLOW_URL" in refused.detail


def test_where_nobody_listens_is_told(free_port: Callable[[], int]) -> None:
    assert refusal(client_of(f"http://127.0.0.1:{free_port()}")).slug == "airflow-unavailable"


@pytest.mark.parametrize("name", ["airflow_url", "airflow_public_url"])
@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://airflow", "http://", "nonsense"])
def test_an_address_that_is_none_is_refused_at_the_start(name: str, url: str) -> None:
    with pytest.raises(SettingsError, match=variable(name)):
        load_settings(**{name: url})


BODY = {"model_name": "mycoflow", "stage": "production", "variables": 3, "epochs": 5}
Serve = Callable[[int], None]


@pytest.fixture
def settings(settings: Settings, airflow: ScriptedAirflow) -> Settings:
    """With the Airflow of the test."""
    update = {
        "airflow_url": airflow.url,
        "airflow_public_url": "https://airflow.example.org",
        "airflow_username": LOGIN["username"],
        "airflow_password": SecretStr(LOGIN["password"]),
    }
    return settings.model_copy(update=update)


@pytest.mark.parametrize("kind", ["json", "data"])
def test_finetune_starts_a_run_for_the_version_in_production_and_says_where_to_follow_it(
    admin: FlaskClient, serve_version: Serve, airflow: ScriptedAirflow, kind: str
) -> None:
    serve_version(7)
    answer: Any = admin.post("/finetune", **{kind: BODY})
    assert answer.status_code == 202
    assert answer.json["dag_run_id"] == RUN_ID
    assert answer.json["url"] == answer.headers["Location"]
    assert answer.json["url"].startswith("https://airflow.example.org/dags/finetune/runs/manual__")
    ((path, body),) = airflow.runs
    assert path == "/api/v2/dags/finetune/dagRuns"
    assert body["conf"].pop("requested_by").startswith("account:")
    assert body["conf"] == {"model_version": 7, "layers": 3, "epochs": 5}


def test_a_finetuning_that_does_not_fit_never_reaches_airflow(
    admin: FlaskClient, serve_version: Serve, airflow: ScriptedAirflow, catalog: Catalog
) -> None:
    assert admin.post("/finetune", json=BODY).status_code == 503  # no model yet
    serve_version(1)
    with catalog.begin() as connection:
        save_backbone(connection, StoredBackbone("a recipe", "vgg16", "0" * 64, "0" * 64, "random:0", "fp32", 32, None))
        save_model_version(connection, ModelVersion(1, "run", None, f"{'0' * 64}:1", ["b", "a"], 32, "fp32"))
    refused: Any = admin.post("/finetune", json=BODY | {"variables": 14})
    assert (refused.status_code, refused.json["detail"]) == (422, "variables: expected 1 to 13 for this model, got 14")
    assert admin.post("/finetune", json=BODY | {"model_name": "resnet"}).status_code == 404
    assert (airflow.logins, airflow.runs) == (0, [])


def test_a_refusal_by_airflow_is_a_503_that_says_so(
    admin: FlaskClient, serve_version: Serve, airflow: ScriptedAirflow
) -> None:
    serve_version(1)
    airflow.to_runs = (404, {"detail": "Dag with dag_id: 'finetune' not found"})
    answer: Any = admin.post("/finetune", json=BODY)
    assert (answer.status_code, answer.json["type"]) == (503, "urn:mycoflow:problem:airflow-refused")
    assert "not found" in answer.json["detail"]
    assert int(answer.headers["Retry-After"]) > 0
