"""`make up`: it says when it is up, stops cleanly, goes on where it was, and refuses what it cannot do."""

import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import psutil
import pytest

from ml.settings import Settings
from stack.demo.demo_folder import demo_settings
from stack.home_lock import exclusive
from stack.leftovers import marked_pids
from stack.ports import HOST
from stack.prometheus import find_prometheus
from stack.secret_files import airflow_secrets

RunStack = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]


def read_until(process: "subprocess.Popen[str]", words: str) -> str:
    """What the process says up to the line with these words."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


def passwords(home: Path) -> str:
    return (home / "airflow" / "passwords.json").read_text()


# Quick ones prove as much: test_scheduler.py starts and stops the stack, tests/monitoring/test_stack_prometheus.py lets
# a server end, test_passwords_are_those_of_the_start_before is below.
@pytest.mark.slow
def test_ctrl_c_stops_everything_and_the_next_start_goes_on(
    home: Path, run_stack: RunStack, processes_on: Callable[[Path], list[str]]
) -> None:
    settings = demo_settings(home)
    with run_stack(settings) as process:
        read_until(process, "Mycoflow is up")
        assert httpx.get(f"http://{HOST}:{settings.service_port}/status", trust_env=False).json() is True
        if find_prometheus(settings):
            read_until(process, f"http://{HOST}:{settings.prometheus_port}")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 0
    assert processes_on(home) == []
    first_passwords = passwords(home)

    with run_stack(settings) as process:
        read_until(process, "Mycoflow is up")
        assert passwords(home) == first_passwords
        for pid in marked_pids(str(home), "mlflow server"):
            psutil.Process(pid).kill()
        assert "mlflow ended by itself" in read_until(process, "ended by itself")
        assert process.wait(timeout=120) == 1
    assert processes_on(home) == []


def test_a_signal_while_the_servers_start_leaves_no_process(
    home: Path, run_stack: RunStack, processes_on: Callable[[Path], list[str]]
) -> None:
    with run_stack(demo_settings(home)) as process:
        read_until(process, "Starting on")
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)
    assert processes_on(home) == []


def test_a_port_in_use_is_named_with_the_setting_that_moves_it(home: Path, run_stack: RunStack) -> None:
    settings = demo_settings(home)
    with socket.create_server((HOST, settings.mlflow_port)), run_stack(settings) as process:
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert f"port {settings.mlflow_port} is in use; set MYCOFLOW_MLFLOW_PORT to a free one" in said


# Quick: tests/monitoring/test_stack_prometheus.py, test_a_port_in_use_is_reported_and_the_stack_runs_without_it.
@pytest.mark.slow
def test_with_the_port_of_prometheus_in_use_the_rest_starts(home: Path, run_stack: RunStack) -> None:
    settings = demo_settings(home)
    if find_prometheus(settings) is None:
        pytest.skip("NOT CHECKED: prometheus is not installed; run `apt-get install prometheus` (as .ci/run does)")
    with socket.create_server((HOST, settings.prometheus_port)), run_stack(settings) as process:
        assert f"port {settings.prometheus_port} is in use" in read_until(process, "Without Prometheus")
        read_until(process, "Mycoflow is up")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 0
    assert not (home / "logs" / "prometheus.log").exists()


def test_a_second_stack_on_the_same_data_is_refused(home: Path, run_stack: RunStack) -> None:
    with exclusive(home, "stack"), run_stack(demo_settings(home)) as process:
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "A stack already runs on" in said


def test_a_wrong_setting_is_named(home: Path, run_stack: RunStack) -> None:
    settings = demo_settings(home).model_copy(update={"airflow_port": 99999})
    with run_stack(settings) as process:
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "MYCOFLOW_AIRFLOW_PORT" in said


def test_passwords_are_those_of_the_start_before(home: Path) -> None:
    assert airflow_secrets(home) == airflow_secrets(home)


@pytest.mark.parametrize("name", ["jwt_secret", "passwords.json"])
def test_secrets_are_for_their_owner_only(home: Path, name: str) -> None:
    airflow_secrets(home)
    assert (home / name).stat().st_mode & 0o077 == 0


def test_the_demo_leaves_a_folder_alone_that_is_not_its_own(home: Path, run_stack: RunStack) -> None:
    (home / "demo").mkdir()
    (home / "demo" / "thesis.txt").write_text("mine")
    settings: Settings = demo_settings(home)
    with run_stack(settings, "demo") as process:
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "one that the demo made" in said.replace("\n", " ")
    assert (home / "demo" / "thesis.txt").read_text() == "mine"
