"""`make up`: run all of Mycoflow on this machine, in the foreground, until Ctrl-C."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml.catalog.embedded import is_running, restart
from ml.settings import Settings, load_settings
from stack.children import list_children
from stack.database_setup import migrate_all
from stack.environment import Addresses, child_environment, find_addresses
from stack.home_lock import exclusive
from stack.leftovers import end_leftovers
from stack.ports import check_free
from stack.prometheus import drop_if_taken
from stack.readiness import is_answering, list_missing
from stack.secret_files import ADMIN, AirflowSecrets, airflow_secrets
from stack.supervisor import Supervisor

SLOW_START_SECONDS = 120
DATABASE_CHECK_SECONDS = 2


def run_stack(console: Console) -> int:
    """Start all servers on the data under MYCOFLOW_HOME, and keep them running.

    SIGINT and SIGTERM end all servers, and the embedded PostgreSQL last. The next call uses the same data.

    Returns: 0 after a signal, 1 if a server that is not optional ended by itself.
    Raises: SettingsError, a port is in use or a stack already runs here; DatabaseUnavailableError, SchemaVersionError.
    """
    settings = load_settings()
    home = settings.mycoflow_home
    with exclusive(home, "stack"):
        end_leftovers(str(home))  # a killed stack leaves some
        _check_ports(settings)
        settings = drop_if_taken(settings, console)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the embedded server is stopped
        try:
            return _supervise(settings, console)
        finally:
            end_leftovers(str(home))


def _check_ports(settings: Settings) -> None:
    ports = {"MYCOFLOW_AIRFLOW_PORT": settings.airflow_port, "MYCOFLOW_SERVICE_PORT": settings.service_port}
    if settings.mlflow_tracking_uri is None:
        ports["MYCOFLOW_MLFLOW_PORT"] = settings.mlflow_port
    if settings.metrics_port:
        ports["MYCOFLOW_METRICS_PORT"] = settings.metrics_port
    check_free(ports)


def _supervise(settings: Settings, console: Console) -> int:
    home = settings.mycoflow_home
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    console.print(f"Starting on {escape(str(home))} (logs in {escape(str(logs))}) ...", highlight=False, soft_wrap=True)
    secrets = airflow_secrets(home / "airflow")
    addresses = find_addresses(settings)
    environment = child_environment(settings, addresses, secrets)
    migrate_all(settings, addresses, environment, logs)
    announcer = threading.Thread(target=_announce, args=(settings, addresses, secrets, console), daemon=True)
    announcer.start()
    with (logs / "honcho.log").open("w") as output, database_kept_running(home, console):
        supervisor = Supervisor(list_children(settings, addresses), environment, str(home), logs, output)
        supervisor.loop()
    for name in supervisor.died:
        log = logs / f"{name}.log"
        console.print(
            f"[bold red]{name} ended by itself[/], so all others were stopped. Its last lines in {escape(str(log))}:",
            soft_wrap=True,
        )
        console.print(
            "".join(log.read_text(errors="replace").splitlines(keepends=True)[-12:]), markup=False, soft_wrap=True
        )
    if not supervisor.died:
        console.print("Stopped. `make up` starts again with the same data.")
    return 1 if supervisor.died else 0


@contextmanager
def database_kept_running(home: Path, console: Console) -> Iterator[None]:
    """Start the embedded PostgreSQL again if it ends during the block. The children know only its address."""
    is_over = threading.Event()

    def keep() -> None:
        while not is_over.wait(DATABASE_CHECK_SECONDS):
            if not is_running(home) and restart(home):
                console.print("PostgreSQL had ended by itself, and was started again.")

    keeper = threading.Thread(target=keep, name="database-keeper", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        is_over.set()
        keeper.join()


def _announce(settings: Settings, addresses: Addresses, secrets: AirflowSecrets, console: Console) -> None:
    started, is_warned = time.monotonic(), False
    while missing := list_missing(settings, addresses):
        if not is_warned and time.monotonic() - started > SLOW_START_SECONDS:
            console.print(f"Still waiting for {', '.join(missing)}: see {escape(str(settings.mycoflow_home / 'logs'))}")
            is_warned = True
        time.sleep(0.5)
    console.print(f"Open {addresses.service} in a browser.", highlight=False, soft_wrap=True)
    table = Table(title=f"Mycoflow is up ({time.monotonic() - started:.0f} s). Ctrl-C stops it.")
    for column in ("server", "address", "login"):
        table.add_column(column, overflow="fold")
    table.add_row("Pages and API", addresses.service, "an account of `mycoflow user add`")
    table.add_row("Airflow", addresses.airflow, f"{ADMIN} / {secrets.admin_password}")
    table.add_row("MLflow", settings.mlflow_tracking_uri or addresses.mlflow, "none: this machine only")
    if settings.metrics_port:
        table.add_row(
            "Metrics of the service", f"http://127.0.0.1:{settings.metrics_port}/metrics", "none: this machine only"
        )
    if addresses.prometheus:
        is_ready = is_answering(f"{addresses.prometheus}/-/ready")
        log = settings.mycoflow_home / "logs" / "prometheus.log"
        log_in = "none: this machine only" if is_ready else f"it does not answer: see {escape(str(log))}"
        table.add_row("Prometheus", addresses.prometheus, log_in)
    console.print(table)
