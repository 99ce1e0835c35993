"""The time limit of a request. It starts with the request's headers, so the time of a slow upload counts too."""

from flask import Flask, current_app, g

from ml.deadlines import Deadline
from ml.settings import Settings

_EXTENSION = "mycoflow-deadlines"


def init_app(app: Flask, settings: Settings) -> None:
    """Give every request of the application a deadline."""

    def start() -> None:
        g.deadline = Deadline(settings.request_seconds)

    app.extensions[_EXTENSION] = start
    app.before_request(start)


def restart_deadline() -> None:
    """Give the current request its whole time again: its large body has arrived."""
    current_app.extensions[_EXTENSION]()


def current_deadline() -> Deadline:
    """Return the deadline of the current request."""
    deadline: Deadline = g.deadline
    return deadline
