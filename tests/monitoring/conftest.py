"""The prediction service, as Prometheus sees it."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask
from pydantic import SecretStr

from ml.settings import Settings
from webapi import service
from webapi.app import create_app


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application on a real database, with the rights of role web."""
    assert settings.database_url is not None
    url = sa.make_url(settings.database_url.get_secret_value()).update_query_dict({"options": "-c role=web"})
    as_web = SecretStr(url.render_as_string(hide_password=False))
    app = create_app(settings.model_copy(update={"database_url": as_web}))
    yield app
    service.current(app).stop()


@pytest.fixture
def metrics_port(app: Flask) -> int:
    """Where the application shows its figures, on 127.0.0.1."""
    return service.current(app).metrics.serve("127.0.0.1", 0)
