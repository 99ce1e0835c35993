"""Recognise the format of a file by how it begins, whatever its name says."""

import struct
from collections.abc import Callable

from ml.errors import InvalidImageError
from ml.ingest.pictures.bmp_headers import read_bmp
from ml.ingest.pictures.gif_blocks import read_gif
from ml.ingest.pictures.heif_files import read_heic
from ml.ingest.pictures.jpeg_segments import read_jpeg
from ml.ingest.pictures.picture_files import PictureFile, damaged_error
from ml.ingest.pictures.png_chunks import read_png
from ml.ingest.pictures.riff_chunks import read_webp
from ml.ingest.pictures.tiff_directories import read_tiff

FORMATS = "JPEG, PNG, WebP, BMP, GIF, TIFF or HEIC"

# Pillow reads dozens of formats, but each is more code that a hostile file could attack.
_READERS: tuple[tuple[bytes, str, Callable[[bytes], PictureFile]], ...] = (
    (b"\xff\xd8\xff", "JPEG", read_jpeg),
    (b"\x89PNG\r\n\x1a\n", "PNG", read_png),
    (b"BM", "BMP", read_bmp),
    (b"GIF87a", "GIF", read_gif),
    (b"GIF89a", "GIF", read_gif),
    (b"II*\0", "TIFF", read_tiff),
    (b"MM\0*", "TIFF", read_tiff),
    (b"II+\0", "TIFF", read_tiff),
    (b"MM\0+", "TIFF", read_tiff),
)
_HEIC_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"])
_AVIF_BRANDS = frozenset([b"avif", b"avis"])
# Formats that people take for pictures of ours: the refusal names them.
_OTHERS = {
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "PSD",
    b"%!PS": "EPS",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"%PDF": "PDF",
    b"\0\0\1\0": "ICO",
    b"<svg": "SVG",
    b"<?xml": "XML",
    b"<html": "HTML",
    b"<!DOC": "HTML",
    b"PK\3\4": "ZIP",
}


def read_picture_file(content: bytes) -> PictureFile:
    """Read what a file says of its picture.

    Raises: InvalidImageError, not_an_image, or as the format's reader.
    """
    for signature, file_format, read in _READERS:
        if content.startswith(signature):
            return _read(content, file_format, read)
    if content.startswith(b"RIFF"):
        if content[8:12] == b"WEBP"[: len(content[8:12])]:
            return _read(content, "WebP", read_webp)
        raise _no_picture("another RIFF file, such as a sound or a video")
    brands = _brands(content)
    if brands & _AVIF_BRANDS:
        raise _no_picture("an AVIF")
    if is_heic(content):
        return read_heic(content)
    if brands:
        raise _no_picture("a video")
    for signature, name in _OTHERS.items():
        if content.startswith(signature):
            raise _no_picture(f"{name}")
    if any(signature.startswith(content) for signature, *_ in _READERS):
        raise damaged_error("picture")
    raise _no_picture(f"a file that begins with the bytes {content[:8].hex(' ')}")


def _read(content: bytes, file_format: str, read: Callable[[bytes], PictureFile]) -> PictureFile:
    try:
        return read(content)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        if isinstance(error, InvalidImageError):
            raise
        raise damaged_error(file_format) from error


def is_heic(content: bytes) -> bool:
    """Whether a file is a HEIC."""
    brands = _brands(content)
    return bool(brands & _HEIC_BRANDS) and not brands & _AVIF_BRANDS


def _brands(content: bytes) -> set[bytes]:
    """Return the brands of a file in the ISO base media format; none for another file."""
    if content[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(content[:4], "big"), 256, len(content))
    return {content[8:12], *(content[at : at + 4] for at in range(16, end - 3, 4))}


def _no_picture(received: str) -> InvalidImageError:
    return InvalidImageError("not_an_image", f"expected a {FORMATS}, got {received}: save the picture as JPEG or PNG")
