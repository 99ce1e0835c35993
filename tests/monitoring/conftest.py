"""The prediction service with its metrics, and promtool."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from ml.settings import Settings
from tests.application import application_as_web
from webapi import application_state

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def promtool(program: Callable[[str, str], str]) -> Callable[..., str]:
    """Runs promtool, and asserts that it succeeds. Returns: its output."""
    path = program("promtool", "prometheus")

    def run(*arguments: str | Path) -> str:
        done = subprocess.run([path, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application on a real database, with the rights of the role web."""
    with application_as_web(settings) as app:
        yield app


@pytest.fixture
def metrics_port(app: Flask) -> int:
    """The port of the application's metrics, on 127.0.0.1."""
    return application_state.current(app).metrics.serve("127.0.0.1", 0)
