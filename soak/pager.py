"""The webhook that alerts go to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Pager(ThreadingHTTPServer):
    """An HTTP server on a free local port. It collects the titles of received alerts in `titles`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.titles: list[str] = []

    @property
    def url(self) -> str:
        """The address in the format of MYCOFLOW_ALERT_URLS."""
        return f"json://127.0.0.1:{self.server_port}/"

    def take(self) -> list[str]:
        """Return the titles that arrived since the last call."""
        taken, self.titles = self.titles, []
        return taken


class _Handler(BaseHTTPRequestHandler):
    server: Pager

    def do_POST(self) -> None:
        """Receive one alert."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.titles.append(json.loads(body)["title"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the soak's report lists the alerts."""


@contextmanager
def open_pager() -> Iterator[Pager]:
    """Open a pager, and close it at the end of the block."""
    with Pager() as pager:
        threading.Thread(target=pager.serve_forever, daemon=True).start()
        yield pager
        pager.shutdown()
