"""Run the process that decodes: keep it warm, end it at a request's deadline, and start it again.

A picture may take the process over. So no answer of it is believed before it is checked, and a process that gives
another answer than expected is ended.
"""

import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import IO, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from ml.deadlines import Deadline
from ml.errors import BusyError, InvalidImageError, TimeOverError
from ml.ingest.pictures.picture_files import damaged_error
from ml.ingest.pictures.picture_limits import ANSWERING
from ml.ingest.validation import REASONS, SanitisedImage

CPU_SECONDS = 2.0  # for one picture; photos take a tenth of it

_FAULTS = frozenset([signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL])
_CHILD = "ml.serving.picture_decoder.decoder_child"
_ROOT = Path(__file__).parents[3]
_STOP_SECONDS = 5.0
_MOST_LINE_BYTES = 2000
_MOST_STORED_BYTES = 8 * ANSWERING.bytes  # a PNG has four times the bytes received, a JPEG 12 MB at the very most
_MOST_SIDE_PIXELS = 65_535  # of a JPEG
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


class _Decoded(BaseModel):
    """The answer for a picture. The stored bytes and the pixels follow it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    media_type: Literal["image/jpeg", "image/png"]
    width: int = Field(ge=1, le=_MOST_SIDE_PIXELS)
    height: int = Field(ge=1, le=_MOST_SIDE_PIXELS)
    bytes: int = Field(ge=1, le=_MOST_STORED_BYTES)


class _Refused(BaseModel):
    """The answer for a picture that is refused."""

    model_config = ConfigDict(strict=True, extra="forbid")

    reason: str
    message: str

    @field_validator("reason")
    @classmethod
    def _is_ours(cls, reason: str) -> str:
        if reason not in REASONS:
            raise ValueError
        return reason


_Part = TypeVar("_Part")
_Reader = Callable[[_Decoded, IO[bytes]], _Part]
_ANSWERS: TypeAdapter[_Decoded | _Refused] = TypeAdapter(_Decoded | _Refused)


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
            BusyError: the process decoded other pictures until the deadline, or the machine's memory ran out.
        """

        def read(answer: _Decoded, answers: IO[bytes]) -> DecodedImage:
            stored = _read(answers, answer.bytes)
            pixels = np.frombuffer(_read(answers, image_size * image_size * 3), np.uint8)
            image = SanitisedImage(stored, answer.media_type, answer.width, answer.height, sha256(content).hexdigest())
            return DecodedImage(image, pixels.reshape(image_size, image_size, 3))

        return self._ask_alone(deadline, content, {"image_size": image_size}, read)

    def shrink(self, content: bytes, side: int, deadline: Deadline) -> bytes:
        """Return a small JPEG of a stored photo.

        Args: content, the photo as stored; side, the longest one of the small picture, pixels.
        Raises: the errors of decode.
        """
        return self._ask_alone(
            deadline, content, {"thumbnail_side": side}, lambda answer, answers: _read(answers, answer.bytes)
        )

    def close(self) -> None:
        """End the process, after the picture that is in progress."""
        with self._lock:
            if self._process is None:
                return
            _close(self._process)
            self._process = None

    def _ask_alone(self, deadline: Deadline, content: bytes, wish: dict[str, int], read: _Reader[_Part]) -> _Part:
        if not self._lock.acquire(timeout=deadline.remaining()):
            raise BusyError("The service is too busy to finish this request in time. Try again.")
        try:
            return self._ask_until(deadline, content, wish, read)
        finally:
            self._lock.release()

    def _ask_until(self, deadline: Deadline, content: bytes, wish: dict[str, int], read: _Reader[_Part]) -> _Part:
        process, is_over = self._running(), threading.Event()

        def end() -> None:
            is_over.set()
            process.kill()

        timer = threading.Timer(deadline.remaining(), end)
        timer.start()
        try:
            answer = _ask(process, content, wish, read)
        except BaseException as error:
            process.kill()  # what it would write now belongs to no picture
            status = process.wait()
            if is_over.is_set():
                raise TimeOverError(
                    "The picture was not decoded in the time of a request. Try again, or send a smaller one."
                ) from error
            if isinstance(error, OSError | EOFError):
                raise _error_of_end(status) from error
            if isinstance(error, ValueError):
                _logger.warning("The process that decodes pictures gave an answer that is not ours, and was ended.")
                raise damaged_error("picture") from error
            raise
        finally:
            timer.cancel()
            timer.join()  # so that it does not end the process during another picture
            if is_over.is_set() or process.returncode is not None:
                _close(process)
                self._process = None
        if isinstance(answer, InvalidImageError):
            raise answer
        return answer

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


def _error_of_end(status: int) -> Exception:
    """Return the error for a picture with which the process ended. Args: status, of the process."""
    _logger.warning("The process that decodes pictures ended with status %d. The next picture starts another.", status)
    if status >= 0:
        return RuntimeError(f"Expected a process that decodes pictures, got one that ends with status {status}")
    if -status in _FAULTS:
        return damaged_error("picture")
    if status == -signal.SIGPROF:
        return InvalidImageError(
            "too_complex",
            f"expected a picture that decodes with {CPU_SECONDS:.0f} seconds of computing, got one that does not: "
            "save it again as a plain JPEG",
        )
    # The kernel ends this process first when memory runs out, whoever used it up: the picture may be innocent.
    return BusyError("The process that decodes pictures was ended from outside, as when memory runs out. Try again.")


def _ask(
    process: subprocess.Popen[bytes], content: bytes, wish: dict[str, int], read: _Reader[_Part]
) -> _Part | InvalidImageError:
    """Send the process a picture and what is wanted of it. Return its answer.

    Args: read, reads what follows the line of an answer.
    Raises: OSError, EOFError, the process ends; ValueError, the answer is none that it may give.
    """
    requests, answers = _pipes(process)
    requests.write(json.dumps({"bytes": len(content), "cpu_seconds": CPU_SECONDS, **wish}).encode() + b"\n")
    requests.write(content)
    requests.flush()
    line = answers.readline(_MOST_LINE_BYTES)
    if not line:
        raise EOFError
    answer = _ANSWERS.validate_json(line)
    if isinstance(answer, _Refused):
        return InvalidImageError(answer.reason, answer.message)
    return read(answer, answers)


def _read(answers: IO[bytes], size: int) -> bytes:
    part = answers.read(size)
    if len(part) != size:
        raise EOFError
    return part


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
