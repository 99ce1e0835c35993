"""How long a request may take: counted from its first line, so that a slow upload counts too."""

from flask import Flask, g

from ml.deadlines import Deadline
from ml.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    """Give every request of the application its deadline."""

    def start() -> None:
        g.deadline = Deadline(settings.request_seconds)

    app.before_request(start)


def current_deadline() -> Deadline:
    """The deadline of the request in progress."""
    deadline: Deadline = g.deadline
    return deadline
