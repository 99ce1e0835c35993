import secrets
import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml.catalog.database import migrate
from ml.errors import DatabaseUnavailableError, SchemaVersionError
from ml.serving.lazy_catalog import Database
from ml.settings import Settings


def at(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"database_url": SecretStr(url)})


def test_a_database_that_comes_later_is_found_without_a_restart(
    settings: Settings, catalog_template: str, copied_database: Callable[..., str]
) -> None:
    name = f"late_{secrets.token_hex(4)}"
    there = settings.database_url
    assert there is not None
    url = sa.make_url(there.get_secret_value()).set(database=name).render_as_string(hide_password=False)
    database = Database(at(settings, url))
    assert not database.is_reachable()
    copied_database(catalog_template, name)
    deadline = time.monotonic() + 60
    while not database.is_reachable() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert database.is_reachable()
    database.close()


def break_connections(database: Database) -> None:
    """Let the server end all connections in the pool but one."""
    with database.catalog().begin() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        where = "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with database.catalog().begin() as second:
            second.execute(sa.select(1))
        connection.execute(sa.text(f"{others} {where}"))


def test_a_connection_that_broke_while_it_rested_is_replaced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.catalog.database._FRESH_SECONDS", 0)
    database = Database(settings)
    break_connections(database)
    with database.catalog().begin() as connection:
        assert connection.scalar(sa.select(1)) == 1
    database.close()


def test_a_connection_that_broke_a_moment_ago_fails_one_transaction(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.catalog.database._FRESH_SECONDS", 60)
    database = Database(settings)
    break_connections(database)
    assert [database.is_reachable() for _ in range(3)] == [False, True, True]
    database.close()


def test_a_failed_try_is_shared_for_a_moment(settings: Settings, free_port: Callable[[], int]) -> None:
    database = Database(at(settings, f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"))
    messages = set()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailableError) as caught:
            database.catalog()
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_the_run_of_a_version_is_never_unknown_because_of_an_outage(
    settings: Settings, free_port: Callable[[], int], add_champion: Callable[..., None]
) -> None:
    add_champion(1, 0.9)
    database = Database(settings)
    assert (database.known_run(1), database.known_run(2)) == ("run1", None)
    database.close()
    down = Database(at(settings, f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"))
    with pytest.raises(DatabaseUnavailableError):
        down.known_run(1)


def test_an_unmigrated_database_is_told(settings: Settings, new_database: Callable[[], str]) -> None:
    settings = at(settings, new_database())
    database = Database(settings)
    with pytest.raises(SchemaVersionError, match="mycoflow migrate"):
        database.catalog()
    migrate(settings)
    assert database.is_reachable()
    database.close()
