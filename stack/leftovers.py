"""Processes of a stack that outlived it.

Airflow runs each task in a process group of its own, out of reach of a signal to the scheduler's group; so every child
carries a mark in its environment, and whoever still carries it at the end is ended.
"""

from collections.abc import Callable
from contextlib import suppress

import psutil

from ml.settings import STACK_MARK

GRACE_SECONDS = 3


def end_leftovers(home: str) -> int:
    """End every process that carries the mark of a home folder, first asking, then killing.

    Args: home, the value of the mark.
    Returns: how many there were.
    """
    left = _marked(home)
    for process in left:
        _signal(process, psutil.Process.terminate)
    _, alive = psutil.wait_procs(left, timeout=GRACE_SECONDS)
    for process in alive:
        _signal(process, psutil.Process.kill)
    psutil.wait_procs(alive, timeout=GRACE_SECONDS)
    return len(left)


def marked_pids(home: str, word: str) -> set[int]:
    """The ids of the processes that carry the mark of a home folder and have a word in their command."""
    return {process.pid for process in _marked(home) if word in " ".join(process.cmdline())}


def _marked(home: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _mark_of(process) == home]


def _mark_of(process: psutil.Process) -> str | None:
    try:
        environment: dict[str, str] = process.environ()
    except (psutil.Error, OSError):  # it has just ended, is a zombie, or is somebody else's
        return None
    return environment.get(STACK_MARK)


def _signal(process: psutil.Process, send: Callable[[psutil.Process], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        send(process)
