"""The prediction service's application, as production's database lets it work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from flask import Blueprint, Flask
from pydantic import SecretStr

from ml.settings import Settings
from webapi import application_state
from webapi.api.problem_answers import answer_errors_of
from webapi.factory import create_app


@contextmanager
def application_as_web(settings: Settings) -> Iterator[Flask]:
    """On a migrated database, without a model, threads or ports, and with the rights of role web."""
    assert settings.database_url is not None
    url = sa.make_url(settings.database_url.get_secret_value()).update_query_dict({"options": "-c role=web"})
    as_web = SecretStr(url.render_as_string(hide_password=False))
    app = create_app(settings.model_copy(update={"database_url": as_web}))
    try:
        yield app
    finally:
        application_state.current(app).stop()


def add_to_api(app: Flask, path: str, view: Callable[[], str]) -> None:
    """Add a route to the API, in a blueprint of its own."""
    blueprint = Blueprint(f"test{len(app.blueprints)}", __name__)
    answer_errors_of(blueprint)
    blueprint.add_url_rule(path, "view", view)
    app.register_blueprint(blueprint)
