"""The time limit of a request. It starts with the request's headers, so the time of a slow upload counts too."""

from flask import Flask, g

from ml.deadlines import Deadline
from ml.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    """Give every request of the application a deadline."""

    def start() -> None:
        g.deadline = Deadline(settings.request_seconds)

    app.before_request(start)


def current_deadline() -> Deadline:
    """Return the deadline of the current request."""
    deadline: Deadline = g.deadline
    return deadline
