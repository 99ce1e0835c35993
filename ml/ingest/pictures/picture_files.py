"""What a picture's file says of itself, before any decoder sees it."""

import re
from dataclasses import dataclass, field

from ml.errors import InvalidImageError
from ml.ingest.pictures.picture_limits import MEGAPIXEL, MIN_SIDE_PIXELS, Limits

MOST_PARTS = 50_000  # segments, chunks or blocks of one file; photos have some dozens
MOST_PROFILE_BYTES = 4 * 1024 * 1024

_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")
_SEARCHED_XMP_BYTES = 100_000


@dataclass(frozen=True)
class PictureFile:
    """A picture's file without its metadata, and the metadata that its pixels need.

    Args:
        file_format: one of ml.ingest.pictures.recognition.FORMATS.
        content: the file, with those parts only that a decoder needs.
        width, height: pixels, as the file states them.
        orientation: EXIF's, 1 to 8; 1 is upright.
        icc_profile: the colour profile; None for sRGB.
        white: the value of white in 16-bit pixels, if the file states one.
    """

    file_format: str
    content: bytes
    width: int
    height: int
    orientation: int = 1
    icc_profile: bytes | None = field(default=None, repr=False)
    white: int | None = None

    @property
    def decoded_pixels(self) -> int:
        """The pixels that a decoder unpacks for this picture."""
        return self.width * self.height

    def demand_decodable(self, limits: Limits) -> None:
        """Refuse a picture by what its header says, before it is decoded: so a decompression bomb costs nothing.

        Raises: InvalidImageError, too_small, too_many_pixels or too_complex.
        """
        check_size(self.file_format, self.width, self.height, limits)


def check_size(file_format: str, width: int, height: int, limits: Limits) -> None:
    """Refuse a picture by its size.

    Raises: InvalidImageError, too_small or too_many_pixels.
    """
    size = f"{width} x {height}"
    if min(width, height) < MIN_SIDE_PIXELS:
        raise InvalidImageError("too_small", f"expected at least 32 x 32 pixels, got {size}")
    most = limits.pixels_of(file_format)
    if width * height > most:
        message = f"expected at most {most // MEGAPIXEL} megapixels in a {file_format}, got {size}: send a smaller copy"
        raise InvalidImageError("too_many_pixels", message)


def damaged_error(file_format: str) -> InvalidImageError:
    """Return the refusal of a truncated or damaged file. It quotes no library: their texts hold addresses."""
    return InvalidImageError(
        "unreadable", f"expected a whole {file_format}, got a truncated or damaged one: save or copy it again"
    )


def too_complex(what: str, most: int) -> InvalidImageError:
    """Return the refusal of a file that would take far longer to decode than a photo of its size."""
    return InvalidImageError(
        "too_complex", f"expected at most {most:,} {what}, as a photo has, got more: save it again as a plain JPEG"
    )


def out_of_memory() -> InvalidImageError:
    """Return the refusal of a file that needs more memory than there is for a picture."""
    return InvalidImageError("too_complex", "expected a picture that decodes in less memory: send a smaller copy")


def several_frames() -> InvalidImageError:
    """Return the refusal of an animation, or of a document with pages."""
    return InvalidImageError("animated", "expected one still picture, got several frames or pages")


def orientation_of(exif: int | None, xmp: bytes) -> int:
    """Return the orientation that EXIF or, without it, XMP states; 1 without either."""
    if exif is not None:
        return exif if 1 <= exif <= 8 else 1
    found = _XMP_ORIENTATION.search(xmp, 0, _SEARCHED_XMP_BYTES)
    return int(found[1]) if found else 1
