"""Validate every image, ingested or sent to the service, before any other code reads it."""

from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO

from PIL import ExifTags, Image

from ml.catalog.items.image_records import ImageRecord
from ml.errors import InvalidImageError
from ml.ingest.pixels import to_rgb

MAX_BYTES = 4 * 1024 * 1024
MAX_PIXELS = 50_000_000
MIN_SIDE_PIXELS = 32

REASONS = {
    "zero_byte": "the file is empty",
    "too_large": "more than 4 MB",
    "not_an_image": "not a JPEG, PNG, WebP, BMP, GIF or TIFF, even if its name says so",
    "unreadable": "truncated or damaged",
    "too_small": "a side under 32 pixels",
    "too_many_pixels": "more than 50 megapixels",
    "animated": "several frames or pages",
    "not_convertible": "pixels that have no defined meaning as RGB",
}

# Pillow reads dozens more, but each format is more code that a hostile file could attack.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class SanitisedImage:
    """An image that may be stored and given to the model.

    Args:
        content: the bytes to store: upright, 8-bit RGB, no metadata.
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


def sanitise(content: bytes) -> SanitisedImage:
    """Decode an image, turn it upright, convert it to RGB and write it again without its metadata.

    A JPEG stays a JPEG (quality 95, full colour resolution), anything else becomes a PNG.

    Args: content, the file's bytes as received.
    Raises: InvalidImageError, with one of REASONS.
    """
    check_byte_count(len(content))
    image = _open(content)
    _check_header(image)
    upright = _turn_upright(_load(image))
    rgb = to_rgb(upright)
    is_jpeg = image.format in ("JPEG", "MPO")
    return SanitisedImage(
        content=_encode(rgb, is_jpeg),
        media_type="image/jpeg" if is_jpeg else "image/png",
        width=rgb.width,
        height=rgb.height,
        sha256=sha256(content).hexdigest(),
    )


def check_byte_count(byte_count: int) -> None:
    """Refuse a file by its size alone, before it is read.

    Raises: InvalidImageError, zero_byte or too_large.
    """
    if byte_count == 0:
        raise InvalidImageError("zero_byte", "expected an image, got an empty file")
    if byte_count > MAX_BYTES:
        raise InvalidImageError("too_large", f"expected at most {MAX_BYTES:,} bytes (4 MB), got {byte_count:,}")


def _open(content: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(content), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidImageError("too_many_pixels", f"expected at most 50 megapixels, got more: {error}") from error
    except Exception as error:  # decoders of hostile files raise anything
        if content.startswith(_SIGNATURES):
            raise _unreadable(error) from error
        raise InvalidImageError(
            "not_an_image", f"expected one of {', '.join(_FORMATS)}, got bytes that begin {content[:8]!r}"
        ) from error


def _check_header(image: Image.Image) -> None:
    """Check only the header, before anything is decoded: so a decompression bomb costs nothing."""
    size = f"{image.width}x{image.height}"
    if min(image.size) < MIN_SIDE_PIXELS:
        raise InvalidImageError("too_small", f"expected at least 32x32 pixels, got {size}")
    if image.width * image.height > MAX_PIXELS:
        raise InvalidImageError("too_many_pixels", f"expected at most 50 megapixels, got {size}")
    if _has_more_frames(image):
        raise InvalidImageError("animated", "expected one still picture, got several frames or pages")


def _has_more_frames(image: Image.Image) -> bool:
    if image.format == "MPO":  # a phone's JPEG: the first frame is the photo, the others are previews
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception as error:  # GIF and TIFF read their later frames here
        raise _unreadable(error) from error


def _load(image: Image.Image) -> Image.Image:
    try:
        image.load()
    except Exception as error:  # decoders of hostile files raise anything
        raise _unreadable(error) from error
    return image


def _turn_upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation. Not ImageOps.exif_transpose: it also rewrites the EXIF and fails on odd ones."""
    orientation = None
    with suppress(Exception):  # a damaged EXIF block does not mean a damaged image
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _encode(rgb: Image.Image, is_jpeg: bool) -> bytes:
    rgb.info = {}  # Pillow would write the comment and the colour profile in it
    buffer = BytesIO()
    if is_jpeg:
        rgb.save(buffer, "JPEG", quality=95, subsampling=0)
    else:
        rgb.save(buffer, "PNG", compress_level=1)  # 20 % larger than level 6, in a quarter of the time
    return buffer.getvalue()


def _unreadable(error: Exception) -> InvalidImageError:
    return InvalidImageError("unreadable", f"expected a whole image, got a truncated or damaged one: {error}")
