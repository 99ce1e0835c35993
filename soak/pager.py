"""The webhook that alerts go to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Pager(ThreadingHTTPServer):
    """Listens on a free local port and keeps the titles of what comes, in `titles`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.titles: list[str] = []

    @property
    def url(self) -> str:
        """As MYCOFLOW_ALERT_URLS takes it."""
        return f"json://127.0.0.1:{self.server_port}/"

    def take(self) -> list[str]:
        """The titles that came since the last call."""
        taken, self.titles = self.titles, []
        return taken


class _Handler(BaseHTTPRequestHandler):
    server: Pager

    def do_POST(self) -> None:
        """Take one alert."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.titles.append(json.loads(body)["title"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the soak tells what came."""


@contextmanager
def open_pager() -> Iterator[Pager]:
    """A pager for the length of the block."""
    with Pager() as pager:
        threading.Thread(target=pager.serve_forever, daemon=True).start()
        yield pager
        pager.shutdown()
