"""A local server that checks requests against the documentation of Grafana's HTTP API.

Source: https://grafana.com/docs/grafana/latest/developers/http_api/, Folder, Dashboard and Annotations API.
"""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from ml.settings import Settings

TOKEN = "glsa_secret"
ANNOTATION_FIELDS = {"dashboardId", "dashboardUID", "panelId", "time", "timeEnd", "tags", "text"}

Answer = tuple[int, Any]
Json = dict[str, Any]


@dataclass
class Grafana:
    """The stored objects of the server, and its next answers."""

    port: int = 0
    prefix: str = ""
    failing: int | None = None  # the status of all answers
    refused_text: str | None = None  # an annotation with this text is a bad request
    folders: dict[str, str] = field(default_factory=dict)
    dashboards: dict[str, Json] = field(default_factory=dict)
    annotations: list[Json] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, token: str | None, body: Any) -> Answer:
        self.requests.append(f"{method} {path}")
        if self.failing is not None:
            return self.failing, {"message": "no"}
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Invalid API key", "messageId": "api-key.invalid", "statusCode": 401}
        if method == "GET" and path.startswith(f"{self.prefix}/api/folders/"):
            return self._get_folder(path.rpartition("/")[2])
        routes: dict[str, Callable[[Json], Answer]] = {
            "/api/folders": self._add_folder,
            "/api/dashboards/db": self._store_dashboard,
            "/api/annotations": self._annotate,
        }
        route = routes.get(path.removeprefix(self.prefix)) if method == "POST" else None
        return route(body) if route else (404, {"message": "Not found"})

    def _get_folder(self, uid: str) -> Answer:
        if uid not in self.folders:
            return 404, {"message": "folder not found", "status": "not-found"}
        return 200, {"id": 1, "uid": uid, "title": self.folders[uid], "url": f"/dashboards/f/{uid}/x"}

    def _add_folder(self, body: Json) -> Answer:
        if not set(body) <= {"uid", "title", "parentUid", "description"} or not body.get("title"):
            return 400, {"message": "bad request data"}
        if body["uid"] in self.folders:
            return 412, {"message": "a folder with the same uid already exists"}
        self.folders[body["uid"]] = body["title"]
        return self._get_folder(body["uid"])

    def _store_dashboard(self, body: Json) -> Answer:
        dashboard = body["dashboard"]
        if not set(body) <= {"dashboard", "folderUid", "overwrite", "message"} or len(dashboard["uid"]) > 40:
            return 400, {"message": "bad request data"}
        if not dashboard.get("title"):
            return 400, {"message": "Dashboard title cannot be empty"}
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        if dashboard["uid"] in self.dashboards and not body["overwrite"]:
            return 412, {"status": "name-exists", "message": "already exists"}
        self.dashboards[dashboard["uid"]] = body
        url = f"/d/{dashboard['uid']}/x"
        return 200, {"id": 1, "uid": dashboard["uid"], "url": url, "status": "success", "version": 1, "slug": "x"}

    def _annotate(self, body: Json) -> Answer:
        given = {name: value for name, value in body.items() if value is not None}
        fits = set(given) <= ANNOTATION_FIELDS and given.get("text") and isinstance(given.get("time"), int)
        if not fits or not all(isinstance(tag, str) for tag in given["tags"]) or given["text"] == self.refused_text:
            return 400, {"message": "Failed to save annotation"}
        self.annotations.append(given)
        return 200, {"message": "Annotation added", "id": len(self.annotations)}


@contextmanager
def running_grafana(port: int = 0, prefix: str = "", page: str | None = None) -> Iterator[Grafana]:
    """Run the server during the block.

    Args: port, any when 0; prefix, the path below which it answers; page, what it says instead, like another server.
    """
    grafana = Grafana(prefix=prefix)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self) -> None:
            self._answer(None)

        def _answer(self, body: Any) -> None:
            status, answer = grafana.answer(self.command, self.path, self.headers["Authorization"], body)
            content = (page or json.dumps(answer)).encode()
            self.send_response(200 if page else status)
            self.send_header("Content-Type", "text/html" if page else "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        grafana.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield grafana
        server.shutdown()


def settings_for(port: int, token: str = TOKEN, prefix: str = "") -> Settings:
    return Settings(grafana_url=f"http://127.0.0.1:{port}{prefix}", grafana_token=SecretStr(token))
