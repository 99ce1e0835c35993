"""How the catalog's connections are made."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml.catalog.database import Catalog, open_catalog
from ml.deadlines import Deadline
from ml.errors import DatabaseUnavailableError, TimeOverError
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


def test_a_transaction_over_its_time_is_no_outage(catalog: Catalog) -> None:
    with pytest.raises(TimeOverError), catalog.until(Deadline(0)).begin():
        pass
    with pytest.raises(TimeOverError), catalog.until(Deadline(0.2)).begin() as connection:
        connection.execute(sa.text("SELECT pg_sleep(60)"))


def test_a_server_that_does_not_answer_is_an_outage_also_with_a_deadline(
    catalog: Catalog, free_port: Callable[[], int]
) -> None:
    engine = sa.create_engine(f"postgresql+psycopg2://nobody@127.0.0.1:{free_port()}/nothing")
    with pytest.raises(DatabaseUnavailableError), replace(catalog, engine=engine, deadline=Deadline(60)).begin():
        pass
