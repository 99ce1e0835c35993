"""A home folder for whole stacks, and a look at the processes that live on it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from ml.settings import Settings
from stack.environment import ROOT, settings_environment
from stack.leftovers import end_leftovers
from tests.memory import memory_folder

RunStack = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that PostgreSQL's own user may enter, which pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="mycoflow-e2e-", dir=memory_folder()))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def processes_on() -> Callable[[Path], list[str]]:
    """Commands of the processes that work on a folder: those that name it, and those that carry its mark."""

    def find(folder: Path) -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                known = [*process.cmdline(), *process.environ().values()]
            except psutil.Error:
                continue
            if process.pid != os.getpid() and any(str(folder) in each for each in known):
                found.append(" ".join(process.cmdline()))
        return found

    return find


@pytest.fixture
def run_stack() -> RunStack:
    """Starts `python -m stack up` with some settings; whatever the test leaves running is ended."""

    @contextmanager
    def run(settings: Settings, command: str = "up") -> Iterator["subprocess.Popen[str]"]:
        environment = {**os.environ, **settings_environment(settings)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        process = subprocess.Popen(
            [sys.executable, "-m", "stack", command],
            cwd=settings.mycoflow_home,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                process.terminate()
                process.wait(timeout=60)
                end_leftovers(str(settings.mycoflow_home))

    return run
