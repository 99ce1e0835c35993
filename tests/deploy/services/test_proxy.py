"""The real Caddy on the real Caddyfile, with local ports and a local certificate authority."""

import json
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

CADDY = Path(sys.executable).with_name("caddy")  # of docker-compose.yml; Debian's is another version
UPLOAD_SECONDS = 2
LOCAL_CERTIFICATES = "\tlocal_certs\n\tskip_install_trust\n\tadmin off\n\thttp_port {http}\n\thttps_port {https}\n"


class Echo(BaseHTTPRequestHandler):
    """Stands for every application: answers with what it was asked."""

    reached: "list[str]"  # the paths asked for

    def do_GET(self) -> None:
        self.reached.append(self.path)
        self.answer()

    def answer(self) -> None:
        if self.path == "/slow-answer":
            time.sleep(UPLOAD_SECONDS + 1)
        self.send_response(200)
        self.send_header("X-Seen-Headers", json.dumps(dict(self.headers)))
        self.send_header("X-Seen-Authorization", self.headers.get("Authorization", "none"))
        self.send_header("X-Seen-Path", self.path)
        self.send_header("X-Seen-For", self.headers.get("X-Forwarded-For", "none"))
        self.send_header("X-Seen-Proto", self.headers.get("X-Forwarded-Proto", "none"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.reached.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, *arguments: Any) -> None:
        """Nothing: requests are asserted on, not logged."""


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    Echo.reached = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def caddy(
    root: Path,
    echo: int,
    free_ports: Callable[[int], list[int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[int, int]]:
    folder = tmp_path_factory.mktemp("caddy")
    http, https = free_ports(2)
    text = (root / "docker/Caddyfile").read_text()
    text = text.replace("email {$ACME_EMAIL}\n", "\n" + LOCAL_CERTIFICATES.format(http=http, https=https), 1)
    text = re.sub(r"reverse_proxy \S+", f"reverse_proxy 127.0.0.1:{echo}", text)
    assert "read_timeout 1m\n" in text
    text = text.replace("read_timeout 1m\n", f"read_timeout {UPLOAD_SECONDS}s\n")
    (folder / "Caddyfile").write_text(text)
    environment = {
        "DOMAIN": "localhost",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([CADDY, "run"], cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            wait_until_listening(process, http, folder / "log")
            yield http, https
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_until_listening(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            requests.get(f"http://127.0.0.1:{port}", allow_redirects=False, timeout=30)
            return
        except requests.ConnectionError:
            time.sleep(0.1)


@pytest.fixture
def ask(caddy: tuple[int, int], root: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """curl, because it can be told where a name is; returns the status and headers."""

    def get(name: str, path: str = "/", *options: str) -> "subprocess.CompletedProcess[str]":
        where = f"{name}:{caddy[1]}:127.0.0.1"
        command = ["curl", "-sk", "-D", "-", "-o", "/dev/null", "--resolve", where, *options]
        return subprocess.run(
            [*command, f"https://{name}:{caddy[1]}{path}"], capture_output=True, text=True, check=False, timeout=30
        )

    return get


def test_plain_http_is_sent_to_https(caddy: tuple[int, int]) -> None:
    answer = requests.get(
        f"http://127.0.0.1:{caddy[0]}/status", headers={"Host": "localhost"}, allow_redirects=False, timeout=60
    )
    assert answer.status_code == 308
    assert answer.headers["Location"].startswith("https://localhost")


def test_the_service_checks_passwords_itself_and_learns_who_asks_from_the_proxy_alone(ask: Any) -> None:
    answer = ask("localhost", "/status", "-u", "bob:secret", "-H", "X-Forwarded-For: 203.0.113.9").stdout
    assert answer.startswith("HTTP/2 200")
    assert "x-seen-authorization: Basic Ym9iOnNlY3JldA==" in answer
    assert "x-seen-path: /status" in answer
    assert "x-seen-for: 127.0.0.1" in answer
    assert "x-seen-proto: https" in answer


def test_too_large_an_upload_is_refused(ask: Any, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(6_000_000))
    (tmp_path / "small").write_bytes(bytes(4_000_000))
    body = ("-H", "Expect:", "--data-binary")
    refused = ask("localhost", "/predictions", *body, f"@{tmp_path / 'large'}").stdout
    assert not refused.startswith("HTTP/2 200")  # a status, or the stream is cut while it still sends
    assert ask("localhost", "/predictions", *body, f"@{tmp_path / 'small'}").stdout.startswith("HTTP/2 200")


def test_only_many_photos_at_once_may_be_large_and_take_long(ask: Any, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(bytes(8_000_000))
    body = ("-H", "Expect:", "--data-binary", f"@{tmp_path / 'archive'}", "--limit-rate", "3M")
    for path in ("/many", "/prediction-batches"):
        started = time.monotonic()
        assert ask("localhost", path, *body).stdout.startswith("HTTP/2 200")
        assert time.monotonic() - started > UPLOAD_SECONDS
        assert not ask("localhost", path, "-X", "PUT", *body).stdout.startswith("HTTP/2 200")
    for path in ("/many/1", "/prediction-batches/1/cancel", "/"):
        assert not ask("localhost", path, *body).stdout.startswith("HTTP/2 200")


@pytest.mark.parametrize("name", ["airflow.localhost", "mlflow.localhost", "grafana.localhost"])
def test_each_application_has_a_name_and_keeps_its_own_login(ask: Any, name: str) -> None:
    answer = ask(name, "/page", "-H", "Authorization: Bearer token").stdout
    assert answer.startswith("HTTP/2 200")
    assert "x-seen-authorization: Bearer token" in answer
    assert "x-seen-proto: https" in answer
    assert "strict-transport-security: max-age=31536000" in answer


def test_what_grafana_tells_anybody_is_not_reachable_from_outside(ask: Any) -> None:
    assert ask("grafana.localhost", "/metrics").stdout.startswith("HTTP/2 404")
    assert ask("grafana.localhost", "/api/health").stdout.startswith("HTTP/2 200")


def test_the_interface_of_running_tasks_is_not_reachable_from_outside(ask: Any) -> None:
    assert ask("airflow.localhost", "/execution/health").stdout.startswith("HTTP/2 404")
    assert ask("airflow.localhost", "/execution").stdout.startswith("HTTP/2 404")


@pytest.fixture
def connect(caddy: tuple[int, int]) -> Iterator[Callable[[str], ssl.SSLSocket]]:
    """A function that connects to a site, for requests that curl does not make."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with ExitStack() as stack:

        def to(name: str) -> ssl.SSLSocket:
            plain = socket.create_connection(("127.0.0.1", caddy[1]), timeout=30)
            return stack.enter_context(context.wrap_socket(plain, server_hostname=name))

        yield to


def begin_upload(connection: ssl.SSLSocket, name: str, path: str, length: str) -> None:
    """The head of an upload and a little of its body."""
    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: {name}\r\n{length}\r\n\r\n4\r\nslow\r\n".encode())


@pytest.mark.parametrize("length", ["Content-Length: 4000000", "Transfer-Encoding: chunked"])
def test_slow_uploads_do_not_reach_the_service(ask: Any, connect: Callable[[str], ssl.SSLSocket], length: str) -> None:
    path = f"/predictions?{length[:7]}"
    for _ in range(32):  # the service has 28 threads
        begin_upload(connect("localhost"), "localhost", path, length)
    assert ask("localhost", f"/status?{length[:7]}").stdout.startswith("HTTP/2 200")
    assert f"/status?{length[:7]}" in Echo.reached
    assert path not in Echo.reached


@pytest.mark.parametrize("name", ["localhost", "airflow.localhost", "grafana.localhost"])
def test_an_upload_that_takes_too_long_is_ended(connect: Callable[[str], ssl.SSLSocket], name: str) -> None:
    connection = connect(name)
    started = time.monotonic()
    begin_upload(connection, name, "/too-slow", "Content-Length: 4000000")
    while connection.recv(65536):
        pass
    assert UPLOAD_SECONDS - 1 < time.monotonic() - started < 20


def test_a_model_may_take_longer_on_its_way_to_mlflow(ask: Any, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(bytes(400_000))
    slowly = ("--limit-rate", "100k", "-H", "Expect:", "-T", str(tmp_path / "model"))
    for version in ("--http1.1", "--http2"):
        started = time.monotonic()
        assert ask("mlflow.localhost", f"/model{version}", version, *slowly).stdout.split()[1] == "200"
        assert time.monotonic() - started > UPLOAD_SECONDS
        assert f"/model{version}" in Echo.reached


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("localhost", ["--http1.1"]),
        ("localhost", ["--http2"]),
        ("localhost", ["--http1.1", "-d", "name=x"]),
        ("airflow.localhost", ["--http1.1"]),
        ("grafana.localhost", ["--http1.1"]),
    ],
)
def test_an_answer_may_take_longer_than_an_upload(ask: Any, name: str, options: list[str]) -> None:
    answer = ask(name, "/slow-answer", *options).stdout
    assert "x-seen-path: /slow-answer" in answer.lower()


def test_a_get_with_a_large_body_is_refused(ask: Any, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(bytes(100_000))
    answer = ask("localhost", "/status", "-X", "GET", "-H", "Expect:", "--data-binary", f"@{tmp_path / 'body'}").stdout
    assert not answer.startswith("HTTP/2 200")


@pytest.mark.parametrize("name", ["localhost", "airflow.localhost", "mlflow.localhost", "grafana.localhost"])
def test_what_an_application_would_believe_about_itself_comes_from_the_proxy_alone(ask: Any, name: str) -> None:
    forms = ["SCRIPT_NAME", "Script_Name", "script-name", "X-Script-Name", "X_SCRIPT_NAME", "HTTP_SCRIPT_NAME"]
    forms += ["PATH_INFO", "REMOTE_USER", "X_Forwarded_For", "X-Forwarded_Prefix", "X-Forwarded-Prefix"]
    forms += ["x-forwarded-port", "X-Forwarded-Ssl", "X-Forwarded-Protocol", "X-Forwarded-Server", "Forwarded"]
    forms += ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"]
    options = [word for form in forms for word in ("-H", f"{form}: /intruder")]
    answer = ask(name, "/page", *options, "-H", "X-Kept: yes").stdout
    (seen,) = re.findall(r"^x-seen-headers: (.*?)\r?$", answer, re.MULTILINE)
    assert "/intruder" not in seen
    assert json.loads(seen)["X-Kept"] == "yes"
    assert json.loads(seen)["X-Forwarded-Host"].startswith(name)
