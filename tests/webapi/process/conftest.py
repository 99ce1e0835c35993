"""The service as it runs: gunicorn, PostgreSQL, MLflow, none of them replaced."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from ml.catalog.accounts.tokens import issue_token
from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.settings import Settings

ROOT = Path(__file__).parents[3]
GUNICORN = (sys.executable, "-m", "gunicorn", "--config", "python:webapi.gunicorn_conf")
START_SECONDS = 120.0


@dataclass
class RunningService:
    """gunicorn in a session of its own."""

    process: subprocess.Popen[bytes]
    address: str
    metrics_address: str
    log: Path
    headers: dict[str, str]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.address + path, timeout=60)

    def predict(self, image: bytes, **fields: int) -> httpx.Response:
        url = f"{self.address}/predictions"
        return httpx.post(url, files={"file": image}, data=fields, headers=self.headers, timeout=60)

    def wait_for(self, is_true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if is_true():
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def end(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to gunicorn, as a supervisor does, and wait until all is over."""
        self.process.send_signal(sign)
        return self.process.wait(timeout=START_SECONDS)

    def has_taken(self, client_port: int) -> bool:
        """Whether one of its processes has a client's connection."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return any(each.raddr and each.raddr.port == client_port for one in found for each in one.net_connections())

    def has_processes(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


Start = Callable[..., RunningService]


@pytest.fixture
def credentials(catalog: Catalog, add_account: Callable[[str, Role], Account]) -> dict[str, str]:
    """The headers of somebody who may ask for predictions."""
    account = add_account("a-client", "user")
    with catalog.begin() as connection:
        token = issue_token(connection, account.id, timedelta(hours=1)).token
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def start(
    settings: Settings, credentials: dict[str, str], free_port: Callable[[], int], tmp_path: Path
) -> Iterator[Start]:
    """Starts the service on free ports, with settings as environment variables; kills what a failed test leaves."""
    running: list[RunningService] = []

    def run(**variables: str) -> RunningService:
        port, metrics_port = free_port(), free_port()
        assert settings.database_url is not None
        environment = {
            "PATH": os.environ["PATH"],
            "MYCOFLOW_HOME": str(settings.mycoflow_home),
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}",
            "MYCOFLOW_METRICS_PORT": str(metrics_port),
            "MYCOFLOW_ALIAS_POLL_SECONDS": "0.2",
            "MYCOFLOW_RATE_LIMIT": "100000 per minute",
        }
        log = tmp_path / f"service-{port}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*GUNICORN, "--bind", f"127.0.0.1:{port}", "webapi.factory:create_app()"],
                cwd=ROOT,
                env=environment | variables,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        running.append(
            RunningService(
                process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}/metrics", log, credentials
            )
        )
        return running[-1]

    yield run
    for service in running:
        if service.has_processes():
            os.killpg(service.process.pid, signal.SIGKILL)
        service.process.wait()


@pytest.fixture
def cached_model(settings: Settings, write_bundle: Callable[[Path, int], Path]) -> None:
    """What an earlier run of the service left on this machine."""
    write_bundle(settings.mycoflow_home / "serving" / "1-run", 1)
    (settings.mycoflow_home / "serving" / "current").write_text("1-run\n")
