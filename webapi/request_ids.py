"""Give every request an id: the proxy's or a new one. It is in the response, in each log line and in each problem."""

import re
import uuid

from flask import Flask, Response, g, request

HEADER = "X-Request-ID"
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def init_app(app: Flask) -> None:
    """Give every request of the application an id."""
    app.before_request(_assign)
    app.after_request(_add_header)


def current_request_id() -> str | None:
    """Return the id of the current request; None if it has none yet."""
    request_id: str | None = g.get("request_id")
    return request_id


def _assign() -> None:
    given = request.headers.get(HEADER, "")
    # Other characters could forge log lines.
    g.request_id = given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex


def _add_header(response: Response) -> Response:
    response.headers[HEADER] = current_request_id() or ""
    return response
