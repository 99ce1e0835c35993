"""The prediction service, as Prometheus sees it."""

from collections.abc import Iterator

import pytest
from flask import Flask

from ml.settings import Settings
from tests.application import application_as_web
from webapi import service


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application on a real database, with the rights of role web."""
    with application_as_web(settings) as app:
        yield app


@pytest.fixture
def metrics_port(app: Flask) -> int:
    """Where the application shows its figures, on 127.0.0.1."""
    return service.current(app).metrics.serve("127.0.0.1", 0)
