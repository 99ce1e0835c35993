"""The demo's folder: its settings, how it is emptied, and the stack that runs on it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ml.errors import MycoflowError, SettingsError
from ml.settings import Settings, default_settings, without_settings
from stack.demo.demo_images import DIGIT_SETTINGS
from stack.demo.demo_report import Stopwatch
from stack.environment import ROOT, settings_environment
from stack.home_lock import exclusive
from stack.leftovers import end_leftovers
from stack.ports import find_free_ports

MARKER = "made-by-the-demo"
STOP_SECONDS = 60


def demo_settings(home: Path, changes: Mapping[str, object] = DIGIT_SETTINGS) -> Settings:
    """Return the default settings, without the environment's, with free ports.

    Args: changes, more settings that are not the defaults, by field name.
    """
    airflow, mlflow, service, metrics, prometheus = find_free_ports(5)
    return default_settings(
        mycoflow_home=home,
        alias_poll_seconds=1,
        airflow_port=airflow,
        mlflow_port=mlflow,
        service_port=service,
        metrics_port=metrics,
        prometheus_port=prometheus,
        **changes,
    )


@contextmanager
def clean_folder(home: Path) -> Iterator[None]:
    """Lock the demo's folder during the block, and delete the files of an earlier demo first.

    Raises: SettingsError, a demo or its stack still runs, or the demo did not make this folder.
    """
    with exclusive(home.parent, "demo"):
        if home.is_symlink() or (home.exists() and any(home.iterdir()) and not (home / MARKER).exists()):
            raise SettingsError(
                f"Expected an empty folder or one that the demo made, got {home}. Nothing was deleted. Move the folder "
                "away, or set MYCOFLOW_HOME to another folder."
            )
        if home.exists():
            with exclusive(home, "stack"):
                end_leftovers(str(home))
            shutil.rmtree(home)
        home.mkdir(parents=True)
        (home / MARKER).touch()
        yield


@contextmanager
def running_stack(settings: Settings, watch: Stopwatch) -> Iterator[Callable[[], None]]:
    """Run `stack up` on the demo's folder during the block. The terminal's Ctrl-C does not reach the stack.

    Yields: a check that raises MycoflowError if the stack has ended by itself.
    """
    home = settings.mycoflow_home
    log = home / "stack.log"
    environment = {
        **without_settings(os.environ),
        **settings_environment(settings),
        "PYTHONPATH": _python_path(),
    }
    with log.open("w") as output:
        # Started in the demo's folder, so that no `.env` is read.
        process = subprocess.Popen(
            [sys.executable, "-m", "stack", "up"],
            cwd=home,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def check() -> None:
        if process.poll() is not None:
            raise MycoflowError(f"The stack ended by itself. Its last lines in {log}:\n{log.read_text()[-1500:]}")

    try:
        yield check
    finally:
        with watch.phase("stop the servers"):
            _stop(process, home)


def _stop(process: "subprocess.Popen[bytes]", home: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave servers running
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    end_leftovers(str(home))
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _python_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
