"""Validate every image, ingested or sent to the service, before any other code reads it."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from PIL import Image

from ml.catalog.items.image_records import ImageRecord
from ml.errors import InvalidImageError
from ml.ingest.pictures.colour_profiles import Profile, open_profile
from ml.ingest.pictures.decoding import decode
from ml.ingest.pictures.encoding import encode
from ml.ingest.pictures.jpeg_segments import END, JpegFile
from ml.ingest.pictures.picture_files import PictureFile, damaged_error, out_of_memory
from ml.ingest.pictures.picture_limits import INGESTION, MEGABYTE, Limits
from ml.ingest.pictures.recognition import FORMATS, is_heic, read_picture_file

_ROOT = Path(__file__).parents[2]
_HEIC_CHILD = "ml.ingest.heic_child"
_HEIC_SECONDS = 300.0  # it ends itself after 60 seconds of computing

REASONS = {
    "zero_byte": "the file is empty",
    "too_large": f"more than {INGESTION.bytes // MEGABYTE} MB",
    "not_an_image": f"not a {FORMATS}, even if its name says so",
    "unreadable": "truncated or damaged",
    "too_small": "a side under 32 pixels",
    "too_many_pixels": "more than 100 megapixels",
    "too_complex": "far more work to decode than a photo of its size",
    "animated": "several frames or pages",
    "not_convertible": "pixels that have no defined meaning as RGB",
}


@dataclass(frozen=True)
class SanitisedImage:
    """An image that may be stored and given to the model.

    Args:
        content: the bytes to store: upright, 8-bit sRGB, no metadata.
        media_type: of content, image/jpeg or image/png.
        width, height: of content, pixels.
        sha256: of the bytes as received; it is the image's id.
    """

    content: bytes
    media_type: str
    width: int
    height: int
    sha256: str

    @property
    def record(self) -> ImageRecord:
        """The facts that the catalog stores."""
        return ImageRecord(self.sha256, self.media_type, self.width, self.height, len(self.content))


def sanitise(content: bytes, limits: Limits = INGESTION) -> SanitisedImage:
    """Return an image in the form in which it is stored: upright, in sRGB and without its metadata.

    Args: content, the file's bytes as received.
    Raises: InvalidImageError, with one of REASONS, or unreachable if it could not be read this time.
    """
    check_byte_count(len(content), limits)
    return _sanitise_apart(content, limits) if is_heic(content) else sanitise_and_decode(content, limits)[0]


def sanitise_and_decode(content: bytes, limits: Limits) -> tuple[SanitisedImage, Image.Image]:
    """Return also the decoded image, exactly as the stored bytes decode.

    A JPEG that is upright and in sRGB keeps its coded pixels; only its metadata is left out. Other images are decoded
    and written anew: a JPEG as JPEG (quality 95, full colour resolution), anything else as PNG. A PNG that took far
    more space than the file becomes a JPEG.

    A damaged HEIC can end the process: call `sanitise`, unless this process is there to be ended.

    Raises: InvalidImageError, with one of REASONS.
    """
    try:
        return _sanitise_and_decode(content, limits)
    except MemoryError as error:
        raise out_of_memory() from error


def _sanitise_and_decode(content: bytes, limits: Limits) -> tuple[SanitisedImage, Image.Image]:
    check_byte_count(len(content), limits)
    file = read_picture_file(content)
    file.demand_decodable(limits)
    profile = open_profile(file.icc_profile)
    if _may_keep_bytes(file, profile, limits):
        image = decode(file, None, limits.kept_pixels, limits)
        return _sanitised(content, file.content + END, "image/jpeg", image), image
    image = decode(file, profile, limits.stored_pixels, limits)
    stored, media_type = encode(image, len(content), is_jpeg=isinstance(file, JpegFile))
    if media_type == "image/jpeg":
        image = Image.open(BytesIO(stored))
    return _sanitised(content, stored, media_type, image), image


def check_byte_count(byte_count: int, limits: Limits = INGESTION) -> None:
    """Refuse a file by its size alone, before it is read.

    Raises: InvalidImageError, zero_byte or too_large.
    """
    if byte_count == 0:
        raise InvalidImageError("zero_byte", "expected an image, got an empty file")
    if byte_count > limits.bytes:
        most = f"{limits.bytes:,} bytes ({limits.bytes // MEGABYTE} MB)"
        raise InvalidImageError("too_large", f"expected at most {most}, got {byte_count:,}: send a smaller copy")


def _sanitise_apart(content: bytes, limits: Limits) -> SanitisedImage:
    """Sanitise in a process of its own.

    Raises: InvalidImageError; unreachable if the process was killed, as when memory runs out.
    """
    command = [sys.executable, "-P", "-m", _HEIC_CHILD, json.dumps(asdict(limits))]
    environment = {"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - no part is a stranger's
            command, input=content, capture_output=True, env=environment, check=False, timeout=_HEIC_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise _too_slow() from error
    if done.returncode == -signal.SIGXCPU:
        raise _too_slow()
    if done.returncode == -signal.SIGKILL:
        raise InvalidImageError(
            "unreachable",
            "expected a process that reads a HEIC, but it was killed, as when memory runs out: ingest the file again",
        )
    if done.returncode < 0:
        raise damaged_error("HEIC")
    if done.returncode > 0:
        raise RuntimeError(f"Expected a process that reads HEIC, got: {done.stderr.decode(errors='replace')[-500:]}")
    line, _, stored = done.stdout.partition(b"\n")
    facts = json.loads(line)
    if "reason" in facts:
        raise InvalidImageError(facts["reason"], facts["message"])
    sha256_of_received = sha256(content).hexdigest()
    return SanitisedImage(stored, facts["media_type"], facts["width"], facts["height"], sha256_of_received)


def _too_slow() -> InvalidImageError:
    return InvalidImageError(
        "too_complex",
        "expected a HEIC that decodes in a minute of computing, got one that does not: save it as a plain JPEG",
    )


def _may_keep_bytes(file: PictureFile, profile: Profile | None, limits: Limits) -> bool:
    return (
        isinstance(file, JpegFile)
        and file.may_be_stored
        and file.orientation == 1
        and profile is None
        and file.width * file.height <= limits.kept_pixels
    )


def _sanitised(received: bytes, stored: bytes, media_type: str, image: Image.Image) -> SanitisedImage:
    return SanitisedImage(stored, media_type, image.width, image.height, sha256(received).hexdigest())
