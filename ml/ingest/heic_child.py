"""Sanitise one HEIC in a process of its own: `python -m ml.ingest.heic_child LIMITS`.

A damaged HEIC can end the process that opens it: libheif then reads memory that it does not own. The service decodes
every picture in such a process; ingestion does so for HEIC alone.
"""

import json
import resource
import sys

from ml.errors import InvalidImageError
from ml.ingest.pictures.picture_limits import Limits
from ml.ingest.validation import sanitise_and_decode

_CPU_SECONDS = 60


def main() -> None:
    """Read a HEIC from standard input. Write a line of JSON and the stored bytes to standard output."""
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    stored = b""
    try:
        image, _ = sanitise_and_decode(sys.stdin.buffer.read(), Limits(**json.loads(sys.argv[1])))
        facts: dict[str, object] = {"media_type": image.media_type, "width": image.width, "height": image.height}
        stored = image.content
    except InvalidImageError as error:
        facts = {"reason": error.reason, "message": str(error)}
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n" + stored)


if __name__ == "__main__":
    main()
