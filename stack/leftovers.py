"""End the processes that are left when a stack has stopped.

Airflow runs each task in a separate process group, which a signal to the scheduler's group does not reach. So every
process of the stack has a mark in its environment, and at the end all processes with this mark are ended.
"""

from collections.abc import Callable
from contextlib import suppress

import psutil

from ml.settings import STACK_MARK

GRACE_SECONDS = 3


def end_leftovers(home: str) -> int:
    """End every process with the mark of a home folder: terminate it, and kill it if it does not end.

    Args: home, the value of the mark.
    Returns: the number of these processes.
    """
    leftovers = _marked(home)
    for process in leftovers:
        _signal(process, psutil.Process.terminate)
    _, alive = psutil.wait_procs(leftovers, timeout=GRACE_SECONDS)
    for process in alive:
        _signal(process, psutil.Process.kill)
    psutil.wait_procs(alive, timeout=GRACE_SECONDS)
    return len(leftovers)


def marked_pids(home: str, word: str) -> set[int]:
    """Return the ids of the processes with the mark of a home folder whose command contains a word."""
    return {process.pid for process in _marked(home) if word in " ".join(process.cmdline())}


def _marked(home: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _mark_of(process) == home]


def _mark_of(process: psutil.Process) -> str | None:
    try:
        environment: dict[str, str] = process.environ()
    except (psutil.Error, OSError):  # it has just ended, is a zombie, or belongs to another user
        return None
    return environment.get(STACK_MARK)


def _signal(process: psutil.Process, send: Callable[[psutil.Process], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        send(process)
