"""Every request has an id: the proxy's, or our own. It is in the answer, in each log line and in each problem."""

import re
import uuid

from flask import Flask, Response, g, request

HEADER = "X-Request-ID"
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def init_app(app: Flask) -> None:
    """Give every request of the application an id."""
    app.before_request(_assign)
    app.after_request(_answer)


def current_request_id() -> str | None:
    """The id of the request in progress; None where it has none yet."""
    request_id: str | None = g.get("request_id")
    return request_id


def _assign() -> None:
    given = request.headers.get(HEADER, "")
    # Anything else could forge log lines.
    g.request_id = given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex


def _answer(response: Response) -> Response:
    response.headers[HEADER] = current_request_id() or ""
    return response
