"""A server as its users start it: a process that listens after a while, and goes away when asked."""

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
    """A server that answers.

    Args:
        address: host and port.
        start_seconds: from the command to the first good answer on the health route.
        process: the one that was started; what it started in turn hangs below it.
    """

    address: str
    start_seconds: float
    process: psutil.Process

    def rss_mb(self) -> float:
        """Resident memory of the process and all below it; pages that they share count each time."""
        family = [self.process, *self.process.children(recursive=True)]
        return float(sum(each.memory_info().rss for each in family)) / 1e6


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, address: str, health: str
) -> Iterator[Server]:
    """Run a server for the length of the block.

    Args:
        folder: where it runs and leaves its log.
        address: host and port that the command names.
        health: path that answers 200 as soon as predictions can be asked for.
    Raises: MycoflowError, it ended or did not get ready in time.
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
    raise MycoflowError(f"Expected {url} to answer within {START_SECONDS:g} s. The server's last words:\n{last_words}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask the server, then end whatever is left of its session."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
