"""Sanitise one HEIC in a process of its own: `python -m ml.ingest.heic_child LIMITS`.

A damaged HEIC can end the process that opens it: libheif then reads memory that it does not own. The service decodes
every picture in such a process; ingestion does so for HEIC alone.
"""

import json
import resource
import sys

from ml.errors import InvalidImageError
from ml.ingest.pictures.picture_files import damaged_error
from ml.ingest.pictures.picture_limits import MEGABYTE, Limits
from ml.ingest.validation import SanitisedImage, sanitise_and_decode

_CPU_SECONDS = 60
_MEMORY_BYTES = 4096 * MEGABYTE  # of addresses; 100 megapixels take half


def main() -> None:
    """Read a HEIC from standard input. Write a line of JSON and the stored bytes to standard output."""
    _, most_seconds = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, most_seconds))  # SIGXCPU; the second limit would be SIGKILL
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    content, limits = sys.stdin.buffer.read(), Limits(**json.loads(sys.argv[1]))
    stored = b""
    try:
        image = _sanitise(content, limits)
        facts: dict[str, object] = {"media_type": image.media_type, "width": image.width, "height": image.height}
        stored = image.content
    except InvalidImageError as error:
        facts = {"reason": error.reason, "message": str(error)}
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + stored)


def _sanitise(content: bytes, limits: Limits) -> SanitisedImage:
    try:
        return sanitise_and_decode(content, limits)[0]
    except InvalidImageError:
        raise
    except Exception as error:  # decoders of hostile files raise anything
        raise damaged_error("HEIC") from error


if __name__ == "__main__":
    main()
