"""The service in a container's memory, while eight clients send hostile pictures all the time."""

import io
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from ml.catalog.accounts.tokens import issue_token
from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from tests.ml.ingest.pictures.hostile_pictures import HOSTILE

CLIENTS = 8
SECONDS = 60.0
CONTAINER_BYTES = 1024**3  # of `webapi` in docker-compose.yml
SLOWEST_SECONDS = 2.0
_MEMORY = Path("/sys/fs/cgroup/memory")  # version 1
_UNIFIED = Path("/sys/fs/cgroup")  # version 2
Start = Callable[..., Any]  # gives a RunningService of conftest.py


class Container:
    """A control group with a limit on memory."""

    def __init__(self, folder: Path, is_unified: bool) -> None:
        self._folder = folder
        self._is_unified = is_unified
        folder.mkdir()
        (folder / ("memory.max" if is_unified else "memory.limit_in_bytes")).write_text(str(CONTAINER_BYTES))

    def take(self, pid: int) -> None:
        """Take a process and its children in."""
        for each in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            (self._folder / "cgroup.procs").write_text(str(each.pid))

    @property
    def kill_count(self) -> int:
        """How many processes the kernel has ended because memory ran out."""
        events = (self._folder / ("memory.events" if self._is_unified else "memory.oom_control")).read_text()
        return int(dict(line.split() for line in events.splitlines())["oom_kill"])

    @property
    def peak_bytes(self) -> int:
        return int((self._folder / ("memory.peak" if self._is_unified else "memory.max_usage_in_bytes")).read_text())


@pytest.fixture
def container() -> Iterator[Container]:
    is_unified = not _MEMORY.is_dir()
    folder = (_UNIFIED if is_unified else _MEMORY) / f"mycoflow-test-{os.getpid()}"
    try:
        made = Container(folder, is_unified)
    except OSError as error:
        pytest.skip(f"needs a control group that limits memory: {error}")
    yield made
    _remove(folder)


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while folder.exists():
        try:
            folder.rmdir()
        except OSError:  # its processes are still ending
            assert time.monotonic() < deadline
            time.sleep(0.2)


def a_photo(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.usefixtures("cached_model")
def test_hostile_pictures_neither_kill_the_service_nor_delay_others(
    container: Container, start: Start, catalog: Catalog, add_account: Callable[[str, Role], Account]
) -> None:
    def log_in(login: str) -> dict[str, str]:
        with catalog.begin() as connection:
            token = issue_token(connection, add_account(login, "user").id, timedelta(hours=1)).token
        return {"Authorization": f"Bearer {token}"}

    attackers = [log_in(f"attacker-{number}") for number in range(CLIENTS)]  # one account has a share of the places
    hostile = [make() for make in HOSTILE.values()]
    service = start()
    container.take(service.process.pid)
    service.wait_for(lambda: service.get("/readyz").status_code == 200)
    container.take(service.process.pid)
    is_over, refused = threading.Event(), list[int]()

    def send(client: int) -> None:
        for number in itertools.count(client):
            if is_over.is_set():
                return
            content = hostile[number % len(hostile)] + number.to_bytes(8, "big") + client.to_bytes(1, "big")
            url = f"{service.address}/predictions"
            answer = httpx.post(url, files={"file": content}, headers=attackers[client], timeout=120)
            refused.append(answer.status_code)

    clients = [threading.Thread(target=send, args=(client,)) for client in range(CLIENTS)]
    for client in clients:
        client.start()
    waits, answers = list[float](), list[httpx.Response]()
    began_at = time.monotonic()
    for seed in itertools.count():
        asked_at = time.monotonic()
        answers.append(service.predict(a_photo(seed)))
        waits.append(time.monotonic() - asked_at)
        if time.monotonic() - began_at > SECONDS:
            break
        time.sleep(0.1)
    is_over.set()
    for client in clients:
        client.join()
    p95 = float(np.quantile(waits, 0.95))
    assert {answer.status_code for answer in answers} == {200}
    assert set(refused) <= {200, 413, 415, 503}
    assert container.kill_count == 0
    assert service.log.read_text().count("Booting worker") == 1
    assert container.peak_bytes < CONTAINER_BYTES
    assert p95 < SLOWEST_SECONDS, (
        f"of {len(waits)} photos beside {len(refused)} hostile pictures; slowest {max(waits):.2f} s"
    )
