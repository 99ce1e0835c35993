"""The processes of the stack, each with its command."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from ml.settings import Settings
from stack.environment import Addresses, python_program
from stack.ports import HOST
from stack.prometheus import find_prometheus, prometheus_command


@dataclass(frozen=True)
class Child:
    """One server: its name in messages, and the command that runs it in the foreground.

    Args: is_optional, whether the other servers keep running when this one ends.
    """

    name: str
    words: tuple[str, ...]
    is_optional: bool = False

    def command(self, log: Path) -> str:
        """Return a command line for the shell. `exec` replaces the shell by the server, so that signals reach it.

        The output goes directly to a file. A pipe would stay open while a child of the server lives, and honcho would
        not notice that the server has ended.
        """
        return f"exec {shlex.join(self.words)} > {shlex.quote(str(log))} 2>&1"


def list_children(settings: Settings, addresses: Addresses) -> list[Child]:
    """List the processes to run: MLflow only without MLFLOW_TRACKING_URI, Prometheus only if it is installed."""
    children = [
        _python("airflow-api", "airflow", "api-server", *_listen(settings.airflow_port), "--workers", "1"),
        _python("airflow-scheduler", "airflow", "scheduler", "--skip-serve-logs"),
        _python("airflow-dags", "airflow", "dag-processor"),
        _python("airflow-triggerer", "airflow", "triggerer", "--skip-serve-logs"),
        _python("service", *_service(settings.service_port)),
    ]
    if settings.mlflow_tracking_uri is None:
        children.append(_python("mlflow", *_mlflow(settings, addresses.mlflow_store)))
    if program := find_prometheus(settings):
        children.append(Child("prometheus", prometheus_command(program, settings), is_optional=True))
    return children


def _python(name: str, *arguments: str) -> Child:
    return Child(name, (python_program(), "-m", *arguments))


def _service(port: int) -> tuple[str, ...]:
    bind = f"{HOST}:{port}"
    return ("gunicorn", "--config", "python:webapi.gunicorn_conf", "--bind", bind, "webapi.factory:create_app()")


def _mlflow(settings: Settings, store: str) -> tuple[str, ...]:
    # MLflow's clients write to the database and to the folder themselves, without the server.
    artifacts = (settings.mycoflow_home / "mlflow").as_uri()
    storage = ("--backend-store-uri", store, "--no-serve-artifacts", "--default-artifact-root", artifacts)
    return ("mlflow", "server", *_listen(settings.mlflow_port), "--workers", "1", *storage)


def _listen(port: int) -> tuple[str, ...]:
    return ("--host", HOST, "--port", str(port))
