"""A server that answers as Airflow 3.3 does.

tests/deploy/services/test_airflow_services.py and tests/e2e have the real one.
"""

import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr

from ml.settings import Settings

LOGIN = {"username": "web", "password": "correct horse battery"}
RUN_ID = "manual__2026-01-01T00:00:00+00:00_a/b"
WAITING = "/api/v2/dags/~/dagRuns/~/hitlDetails?response_received=false&order_by=created_at"
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
        pages: the answers to GET by path and query; 404 to all others.
    """

    url: str = ""
    to_old_tokens: Answer = EXPIRED
    to_runs: Answer | None = None
    logins: int = 0
    tokens: int = 0
    runs: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    pages: dict[str, object] = field(default_factory=dict)

    def forget_tokens(self) -> None:
        self.tokens += 1

    def answer(self, path: str, authorization: str | None, body: dict[str, Any] | None) -> Answer:
        if path == "/auth/token":
            self.logins += 1
            if body != LOGIN:
                return 401, {"detail": "Invalid credentials"}
            self.tokens += 1
            return 201, {"access_token": f"token-{self.tokens}"}
        if authorization != f"Bearer token-{self.tokens}":
            return self.to_old_tokens
        if body is None:
            return (200, self.pages[path]) if path in self.pages else (404, {"detail": "not found"})
        if self.to_runs is not None:
            return self.to_runs
        self.runs.append((path, body))
        dag_id = path.split("/")[4]
        return 200, {"dag_run_id": RUN_ID, "dag_id": dag_id, "state": "queued", "logical_date": None, **body}


def at_airflow(settings: Settings, airflow: ScriptedAirflow) -> Settings:
    """Settings that name this server as their Airflow."""
    secret = SecretStr(LOGIN["password"])
    account = {"airflow_username": LOGIN["username"], "airflow_password": secret}
    return settings.model_copy(update={"airflow_url": airflow.url, **account})


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

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        do_PATCH = do_POST  # noqa: N815 - the name is http.server's

        def _answer(self, body: dict[str, Any] | None) -> None:
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
