"""Start a server as a process, wait until it answers, and stop it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from ml.deadlines import Deadline
from ml.errors import MycoflowError

START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_LAST_WORDS = 2000  # characters


@dataclass(frozen=True)
class Server:
    """A running server.

    Args:
        address: host and port.
        start_seconds: from the command to the first successful answer on the health route.
        process: the started process, the parent of all its other processes.
    """

    address: str
    start_seconds: float
    process: psutil.Process

    def rss_mb(self) -> float:
        """Return the resident memory of the process and its children; shared pages count once for each process."""
        family = [self.process, *self.process.children(recursive=True)]
        return float(sum(each.memory_info().rss for each in family)) / 1e6


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, address: str, health: str
) -> Iterator[Server]:
    """Run a server during the block.

    Args:
        folder: the server's working folder, with its log.
        address: host and port in the command.
        health: path that answers 200 when the server is ready for predictions.
    Raises: MycoflowError, the server ended, or was not ready in time.
    """
    log = folder / "server.log"
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - a list, no shell
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait(process, f"http://{address}{health}", log)
        yield Server(address, time.perf_counter() - began, psutil.Process(process.pid))
    finally:
        _stop(process)


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = Deadline(START_SECONDS)
    with httpx.Client(trust_env=False, timeout=5) as client:
        while deadline.remaining() and process.poll() is None:
            try:
                if client.get(url).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.05)
    last_words = log.read_text(errors="replace")[-_LAST_WORDS:]
    raise MycoflowError(
        f"Expected {url} to answer within {START_SECONDS:g} s. The last lines of its log:\n{last_words}"
    )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop the server, then end all remaining processes of its session."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
