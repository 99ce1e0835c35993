"""The Prometheus of `make up`: it scrapes the service with production's rules, and the stack runs without it."""

import io
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from ml.settings import Settings
from stack.children import Child, list_children
from stack.environment import Addresses
from stack.ports import HOST, find_free_ports
from stack.prometheus import CONFIGURATION, drop_if_taken, find_prometheus, prometheus_command
from stack.supervisor import Supervisor
from tests.monitoring.prometheus_server import eventually, running_prometheus


@pytest.fixture
def stack_settings(settings: Settings, metrics_port: int) -> Settings:
    (port,) = find_free_ports(1)
    return Settings(**{**settings.model_dump(), "metrics_port": metrics_port, "prometheus_port": port})


def test_it_scrapes_the_service_and_has_the_rules_of_production(
    stack_settings: Settings, program: Callable[[str, str], str], tmp_path: Path
) -> None:
    command = prometheus_command(program("prometheus", "prometheus"), stack_settings)
    expected = {
        "webapi": f"http://127.0.0.1:{stack_settings.metrics_port}/metrics",
        "prometheus": f"http://127.0.0.1:{stack_settings.prometheus_port}/metrics",
    }
    with running_prometheus(command, stack_settings.prometheus_port, tmp_path / "log") as prometheus:
        groups = prometheus.get("rules")["groups"]
        assert {group["name"] for group in groups} == {"model", "nights", "service"}
        assert eventually(lambda: prometheus.targets() == expected)
    assert (stack_settings.mycoflow_home / "prometheus" / "data").is_dir()


def test_the_rules_are_found_in_a_checkout_in_any_folder(
    stack_settings: Settings, program: Callable[[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "it's 100% [new] clone?"
    shutil.copytree(CONFIGURATION.parent, checkout / "prometheus")
    monkeypatch.setattr("stack.prometheus.CONFIGURATION", checkout / "prometheus" / CONFIGURATION.name)
    command = prometheus_command(program("prometheus", "prometheus"), stack_settings)
    with running_prometheus(command, stack_settings.prometheus_port, tmp_path / "log") as prometheus:
        assert {group["name"] for group in prometheus.get("rules")["groups"]} == {"model", "nights", "service"}


def test_the_stack_runs_without_it_if_it_is_not_installed(
    stack_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_prometheus(stack_settings) is None
    addresses = Addresses("catalog", "store", "airflow", "airflow", "mlflow", "service", None)
    assert "prometheus" not in {child.name for child in list_children(stack_settings, addresses)}


def test_it_does_not_run_without_a_fixed_port_of_the_metrics(
    stack_settings: Settings, program: Callable[[str, str], str]
) -> None:
    program("prometheus", "prometheus")
    assert find_prometheus(stack_settings) is not None
    assert find_prometheus(stack_settings.model_copy(update={"metrics_port": 0})) is None


def test_a_port_in_use_is_reported_and_the_stack_runs_without_it(
    stack_settings: Settings, program: Callable[[str, str], str]
) -> None:
    program("prometheus", "prometheus")
    said = io.StringIO()
    console = Console(file=said, width=200)
    assert drop_if_taken(stack_settings, console) == stack_settings
    assert said.getvalue() == ""
    with socket.create_server((HOST, stack_settings.prometheus_port)):
        without = drop_if_taken(stack_settings, console)
    assert find_prometheus(without) is None
    assert f"port {stack_settings.prometheus_port} is in use. Set MYCOFLOW_PROMETHEUS_PORT" in said.getvalue()


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Restore the handlers of SIGINT and SIGTERM, which the supervisor replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
def test_the_stack_survives_the_end_of_an_optional_child_only(tmp_path: Path) -> None:
    children = [
        Child("extra", ("sh", "-c", "exit 1"), is_optional=True),
        Child("server", ("sh", "-c", "sleep 2; echo still here; exit 3")),
        Child("other", ("sleep", "60")),
    ]
    with (tmp_path / "honcho.log").open("w") as output:
        supervisor = Supervisor(children, os.environ, str(tmp_path), tmp_path, output)
        supervisor.loop()
    assert supervisor.died == ["server"]
    assert (tmp_path / "server.log").read_text() == "still here\n"
    assert "other stopped (rc=-15)" in (tmp_path / "honcho.log").read_text()
