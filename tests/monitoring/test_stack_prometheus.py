"""The Prometheus of `make up`: it reads the service on its port, and has the rules of production."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ml.settings import Settings
from stack.children import list_children
from stack.environment import Addresses
from stack.ports import find_free_ports
from stack.prometheus import find_prometheus, prometheus_command
from stack.settings import StackSettings
from tests.monitoring.prometheus_server import eventually, running_prometheus


@pytest.fixture
def stack_settings(settings: Settings, metrics_port: int) -> StackSettings:
    (port,) = find_free_ports(1)
    return StackSettings(**{**settings.model_dump(), "metrics_port": metrics_port, "prometheus_port": port})


def test_it_reads_the_service_and_has_the_rules_of_production(
    stack_settings: StackSettings, program: Callable[[str, str], str], tmp_path: Path
) -> None:
    command = prometheus_command(program("prometheus", "prometheus"), stack_settings)
    expected = {
        "webapi": f"http://127.0.0.1:{stack_settings.metrics_port}/metrics",
        "prometheus": f"http://127.0.0.1:{stack_settings.prometheus_port}/metrics",
    }
    with running_prometheus(command, stack_settings.prometheus_port, tmp_path / "log") as prometheus:
        groups = prometheus.get("rules")["groups"]
        assert {group["name"] for group in groups} == {"model", "nights", "service"}
        eventually(lambda: prometheus.targets() == expected)
    assert (stack_settings.mycoflow_home / "prometheus" / "data").is_dir()


def test_where_it_is_not_installed_the_stack_does_without(
    stack_settings: StackSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_prometheus(stack_settings) is None
    addresses = Addresses("catalog", "store", "airflow", "airflow", "mlflow", "service", None)
    assert "prometheus" not in {child.name for child in list_children(stack_settings, addresses)}


def test_a_service_that_shows_no_metrics_on_a_known_port_is_not_watched(
    stack_settings: StackSettings, program: Callable[[str, str], str]
) -> None:
    program("prometheus", "prometheus")
    assert find_prometheus(stack_settings) is not None
    assert find_prometheus(stack_settings.model_copy(update={"metrics_port": 0})) is None
