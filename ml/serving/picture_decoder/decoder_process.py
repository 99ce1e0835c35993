"""Run the process that decodes: keep it warm, end it at a request's deadline, and start it again."""

import json
import logging
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from ml.deadlines import Deadline
from ml.errors import BusyError, InvalidImageError, TimeOverError
from ml.ingest.validation import SanitisedImage

CPU_SECONDS = 2.0  # for one picture; photos take a tenth of it

_FAULTS = frozenset([signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL])
_CHILD = "ml.serving.picture_decoder.decoder_child"
_ROOT = Path(__file__).parents[3]
_STOP_SECONDS = 5.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image file.

    Args:
        image: the sanitised image that is stored.
        pixels: the model's input, uint8 RGB, (image_size, image_size, 3).
    """

    image: SanitisedImage
    pixels: NDArray[np.uint8]


class DecoderProcess:
    """The process that decodes one picture after another. It starts at the first picture, or before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, so that the first picture need not wait for it."""
        with self._lock:
            self._running()

    def decode(self, content: bytes, image_size: int, deadline: Deadline) -> DecodedImage:
        """Decode a picture of a request.

        Args: content, the file as received; image_size, side of the model's input, pixels.
        Raises:
            InvalidImageError: with one of the REASONS of ml.ingest.validation.
            TimeOverError: the deadline passed. The process is ended then, and the next picture starts another.
            BusyError: the process decoded other pictures until the deadline.
        """
        if not self._lock.acquire(timeout=deadline.remaining()):
            raise BusyError("The service is too busy to finish this request in time. Try again.")
        try:
            facts, parts = self._ask_until(deadline, content, image_size)
        finally:
            self._lock.release()
        if "reason" in facts:
            raise InvalidImageError(facts["reason"], facts["message"])
        pixels = np.frombuffer(parts[1], np.uint8).reshape(image_size, image_size, 3)
        stored = SanitisedImage(parts[0], facts["media_type"], facts["width"], facts["height"], facts["sha256"])
        return DecodedImage(stored, pixels)

    def demand_pid(self) -> int:
        """Return the process's id; it runs now."""
        return self._running().pid

    def close(self) -> None:
        """End the process, after the picture that is in progress."""
        with self._lock:
            if self._process is None:
                return
            _close(self._process)
            self._process = None

    def _ask_until(self, deadline: Deadline, content: bytes, image_size: int) -> tuple[dict[str, Any], list[bytes]]:
        process, is_over = self._running(), threading.Event()

        def end() -> None:
            is_over.set()
            process.kill()

        timer = threading.Timer(deadline.remaining(), end)
        timer.start()
        try:
            return _ask(process, content, image_size)
        except (OSError, ValueError) as error:  # a broken pipe, or an answer that breaks off
            process.kill()
            raise _explain_end(process.wait(), is_over.is_set()) from error
        finally:
            timer.cancel()
            timer.join()  # so that it does not end the process during another picture
            if is_over.is_set() or process.returncode is not None:
                _close(process)
                self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        environment = {"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1"}  # none of our secrets
        command = [sys.executable, "-P", "-m", _CHILD]
        self._process = subprocess.Popen(  # noqa: S603 - no part is a stranger's
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self._process


@cache
def shared_decoder() -> DecoderProcess:
    """Return the decoder of this process: one picture is decoded at a time, since the memory is for one."""
    return DecoderProcess()


def _explain_end(status: int, is_over: bool) -> Exception:
    """Return the error for a picture with which the process ended. Args: status, of the process."""
    if is_over:
        return TimeOverError("The picture was not decoded in the time of a request. Try again, or send a smaller one.")
    _logger.warning("The process that decodes pictures ended with status %d. The next picture starts another.", status)
    if status >= 0:
        return RuntimeError(f"Expected a process that decodes pictures, got one that ends with status {status}")
    if -status in _FAULTS:
        return InvalidImageError("unreadable", "expected a whole picture, got a damaged one: save or copy it again")
    how = f"with {CPU_SECONDS:.0f} seconds of computing" if status == -signal.SIGPROF else "in less memory"
    return InvalidImageError(
        "too_complex", f"expected a picture that decodes {how}, got one that does not: save it again as a plain JPEG"
    )


def _ask(process: subprocess.Popen[bytes], content: bytes, image_size: int) -> tuple[dict[str, Any], list[bytes]]:
    requests, answers = _pipes(process)
    requests.write(
        json.dumps({"bytes": len(content), "image_size": image_size, "cpu_seconds": CPU_SECONDS}).encode() + b"\n"
    )
    requests.write(content)
    requests.flush()
    facts = json.loads(answers.readline())
    sizes = [facts[name] for name in ("bytes", "pixel_bytes") if name in facts]
    parts = [answers.read(size) for size in sizes]
    if any(len(part) != size for part, size in zip(parts, sizes, strict=True)):
        raise ValueError("the answer breaks off")
    return facts, parts


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    return cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in _pipes(process):
        with suppress(OSError):  # what was not written yet has no reader any more
            pipe.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
