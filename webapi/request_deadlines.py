"""How long a request may take: counted from its first line, so that a slow upload counts too."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from flask import Flask, g

from ml.catalog.database import Catalog
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


@contextmanager
def begin_until(catalog: Catalog, deadline: Deadline) -> Iterator[sa.Connection]:
    """A transaction of which no statement, waiting for locks included, goes on after the deadline.

    Raises: DatabaseUnavailableError, also when it does.
    """
    with catalog.begin() as connection:
        milliseconds = str(round(1000 * deadline.remaining()) or 1)  # 0 would mean: for ever
        connection.execute(sa.select(sa.func.set_config("statement_timeout", milliseconds, True)))
        yield connection
