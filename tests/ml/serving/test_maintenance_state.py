"""Maintenance mode in one process."""

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from ml.errors import DatabaseUnavailableError
from ml.serving import maintenance_state
from ml.serving.lazy_catalog import Database
from ml.serving.maintenance_state import MaintenanceMode
from ml.settings import Settings


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings)
    yield database
    database.close()


def test_another_process_is_followed_and_one_s_own_switch_is_known_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = MaintenanceMode(database), MaintenanceMode(database)
    assert (ours.is_on(), theirs.is_on()) == (False, False)
    ours.switch(True, "account:7")
    assert ours.is_on()
    monkeypatch.setattr(maintenance_state, "_REMEMBERED_SECONDS", 0)
    assert theirs.is_on()


def test_an_outage_neither_starts_nor_ends_it(
    settings: Settings, database: Database, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance_state, "_REMEMBERED_SECONDS", 0)
    nowhere = settings.model_copy(
        update={"database_url": SecretStr(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")}
    )
    assert not MaintenanceMode(Database(nowhere)).is_on()
    mode = MaintenanceMode(database)
    mode.switch(True, "account:7")
    mode._database = Database(nowhere)
    assert mode.is_on()
    with pytest.raises(DatabaseUnavailableError):
        mode.switch(False, "account:7")
    assert mode.is_on()
