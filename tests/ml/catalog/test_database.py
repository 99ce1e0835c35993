"""How the catalog's connections are made."""

import sqlalchemy as sa
from pydantic import SecretStr

from ml.catalog.database import Catalog, open_catalog
from ml.settings import Settings


def test_moments_are_utc_whatever_the_servers_zone(settings: Settings, catalog: Catalog) -> None:
    with catalog.begin() as connection:
        name = connection.scalar(sa.text("SELECT current_database()"))
        connection.execute(sa.text(f"ALTER DATABASE {name} SET timezone TO 'Asia/Tokyo'"))
    with open_catalog(settings) as later, later.begin() as connection:
        assert connection.scalar(sa.text("SHOW timezone")) == "UTC"


def test_a_sessions_options_in_the_url_hold_too(settings: Settings) -> None:
    assert settings.database_url is not None
    url = sa.make_url(settings.database_url.get_secret_value()).update_query_dict({"options": "-c role=web"})
    as_web = settings.model_copy(update={"database_url": SecretStr(url.render_as_string(hide_password=False))})
    with open_catalog(as_web) as catalog, catalog.begin() as connection:
        assert connection.scalar(sa.text("SELECT current_user")) == "web"
        assert connection.scalar(sa.text("SHOW timezone")) == "UTC"
