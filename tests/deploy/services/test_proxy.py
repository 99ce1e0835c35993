"""The real Caddy on the real Caddyfile, with local ports and a local certificate authority."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

LOCAL_CERTIFICATES = "\tlocal_certs\n\tskip_install_trust\n\tadmin off\n\thttp_port {http}\n\thttps_port {https}\n"


class Echo(BaseHTTPRequestHandler):
    """Stands for every application: answers with what it was asked."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Seen-Authorization", self.headers.get("Authorization", "none"))
        self.send_header("X-Seen-Path", self.path)
        self.send_header("X-Seen-For", self.headers.get("X-Forwarded-For", "none"))
        self.send_header("X-Seen-Proto", self.headers.get("X-Forwarded-Proto", "none"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *arguments: Any) -> None:
        """Nothing: requests are asserted on, not logged."""


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def caddy(
    program: Callable[[str, str], str],
    root: Path,
    echo: int,
    free_ports: Callable[[int], list[int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[int, int]]:
    binary = program("caddy", "caddy")
    folder = tmp_path_factory.mktemp("caddy")
    http, https = free_ports(2)
    text = (root / "docker/Caddyfile").read_text()
    text = text.replace("email {$ACME_EMAIL}\n", "\n" + LOCAL_CERTIFICATES.format(http=http, https=https), 1)
    text = re.sub(r"reverse_proxy \S+", f"reverse_proxy 127.0.0.1:{echo}", text)
    (folder / "Caddyfile").write_text(text)
    environment = {
        "DOMAIN": "localhost",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary, "run"], cwd=folder, env=environment, stdout=log, stderr=log)
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
