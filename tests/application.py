"""The prediction service's application, as production's database lets it work."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from flask import Flask
from pydantic import SecretStr

from ml.settings import Settings
from webapi import application_state
from webapi.factory import create_app


@contextmanager
def application_as_web(settings: Settings) -> Iterator[Flask]:
    """On a migrated database, without a model, threads or ports, and with the rights of role web."""
    assert settings.database_url is not None
    url = sa.make_url(settings.database_url.get_secret_value()).update_query_dict({"options": "-c role=web"})
    as_web = SecretStr(url.render_as_string(hide_password=False))
    app = create_app(settings.model_copy(update={"database_url": as_web}))
    yield app
    application_state.current(app).stop()
