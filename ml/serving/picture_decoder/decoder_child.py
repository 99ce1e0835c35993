"""The process that decodes: `python -m ml.serving.picture_decoder.decoder_child`. It has no secrets and no database.

It reads requests from its standard input and writes answers to its standard output, one after another. Both begin with
a line of JSON that says how many bytes follow. JSON and not pickle: a picture that takes the process over must not run
code in the process that reads the answer.
"""

import json
import os
import resource
import signal
import sys
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pi_heif
from PIL import Image

from ml.backbones.preprocessing import resize
from ml.errors import InvalidImageError
from ml.ingest.contact_sheet import shrink
from ml.ingest.pictures.picture_files import damaged_error, out_of_memory
from ml.ingest.pictures.picture_limits import ANSWERING, MEGABYTE
from ml.ingest.validation import sanitise_and_decode

_MEMORY_BYTES = 400 * MEGABYTE  # beyond what the process has at its start
_SMALL_QUALITY = 80
_STATM = Path("/proc/self/statm")  # Linux only
_OOM_SCORE = Path("/proc/self/oom_score_adj")


def main() -> None:
    """Answer requests until the input ends."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    _go_quiet()
    _limit_memory()
    pi_heif.options.DECODE_THREADS = 1
    while line := requests.readline():
        request = json.loads(line)
        content = requests.read(request["bytes"])
        # The signal ends the process, whatever code it is in.
        signal.setitimer(signal.ITIMER_PROF, request["cpu_seconds"])
        if "thumbnail_side" in request:
            _answer_small(answers, content, request["thumbnail_side"])
        else:
            _answer(answers, content, request["image_size"])
        signal.setitimer(signal.ITIMER_PROF, 0)


def _go_quiet() -> None:
    """Leave standard output and error: libraries in C write there, and the service's log has lines of JSON only."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its input, after the request that is in progress
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _limit_memory() -> None:
    if _STATM.exists():
        present = int(_STATM.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (present + _MEMORY_BYTES,) * 2)
    with suppress(OSError):
        _OOM_SCORE.write_text("1000")  # if memory runs out in spite of all limits, the kernel ends this process first


def _answer(answers: BinaryIO, content: bytes, image_size: int) -> None:
    facts: dict[str, Any]
    parts: tuple[bytes, ...] = ()
    try:
        image, decoded = sanitise_and_decode(content, ANSWERING)
        pixels = resize(decoded, image_size).tobytes()
        facts = {"media_type": image.media_type, "width": image.width, "height": image.height}
        facts["bytes"] = len(image.content)
        parts = (image.content, pixels)
    except InvalidImageError as error:
        facts = {"reason": error.reason, "message": str(error)}
    except MemoryError:  # not in the decoder: the network's input
        facts = {"reason": "too_complex", "message": str(out_of_memory())}
    _write(answers, facts, parts)


def _answer_small(answers: BinaryIO, content: bytes, side: int) -> None:
    facts: dict[str, Any]
    parts: tuple[bytes, ...] = ()
    try:
        image = shrink(content, side)
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=_SMALL_QUALITY)
        facts = {"media_type": "image/jpeg", "width": image.width, "height": image.height, "bytes": buffer.tell()}
        parts = (buffer.getvalue(),)
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
        what = out_of_memory() if isinstance(error, MemoryError) else damaged_error("picture")
        facts = {"reason": what.reason, "message": str(what)}
    _write(answers, facts, parts)


def _write(answers: BinaryIO, facts: dict[str, Any], parts: tuple[bytes, ...]) -> None:
    answers.write(json.dumps(facts).encode() + b"\n" + b"".join(parts))
    answers.flush()


if __name__ == "__main__":
    main()
