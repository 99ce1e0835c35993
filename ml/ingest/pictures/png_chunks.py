"""Read the chunks of a PNG, and leave out those that no decoder needs.

Source: W3C, Portable Network Graphics, third edition.
"""

import struct
import zlib
from contextlib import suppress

from ml.ingest.pictures.picture_files import (
    MOST_PARTS,
    MOST_PROFILE_BYTES,
    PictureFile,
    damaged_error,
    orientation_of,
    several_frames,
    too_complex,
)
from ml.ingest.pictures.tiff_directories import exif_orientation

_SIGNATURE_BYTES = 8
_NEEDED = frozenset([b"IHDR", b"PLTE", b"tRNS", b"IDAT"])
_EMPTY_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
_XMP = b"XML:com.adobe.xmp\0"
_SPACES = b" \t\r\n"
_RAW_EXIF = (b"Raw profile type exif\0", b"Raw profile type APP1\0")  # as ImageMagick writes it


def read_png(content: bytes) -> PictureFile:
    """Read a PNG.

    Raises: InvalidImageError, unreadable, animated or too_complex.
    """
    kept, metadata = [content[:_SIGNATURE_BYTES]], dict[bytes, bytes]()
    position = _SIGNATURE_BYTES
    for _ in range(MOST_PARTS):
        header = content[position : position + 8]
        if len(header) < 8 or header[4:] == b"IEND":
            break
        length, kind = struct.unpack(">L4s", header)
        end = position + 12 + length
        if kind == b"fdAT":
            raise several_frames()
        if kind in _NEEDED:
            kept.append(content[position:end])
        elif end <= len(content):
            metadata.setdefault(_name(kind, content[position + 8 : position + 40]), content[position + 8 : end - 4])
        position = end
    else:
        raise too_complex("chunks in a PNG", MOST_PARTS)
    if len(content) < 24 or content[12:16] != b"IHDR":
        raise damaged_error("PNG")
    width, height = struct.unpack_from(">LL", content, 16)
    orientation = exif_orientation(metadata.get(b"eXIf", b""))
    for name in _RAW_EXIF:
        if orientation is None and name in metadata:
            orientation = exif_orientation(_raw_exif(metadata[name].removeprefix(name)))
    return PictureFile(
        "PNG",
        b"".join([*kept, _EMPTY_END]),
        width,
        height,
        orientation_of(orientation, metadata.get(_XMP, b"")),
        _profile(metadata.get(b"iCCP", b"")),
    )


def _name(kind: bytes, data: bytes) -> bytes:
    """Return the name of a chunk; for texts, the keyword."""
    if kind not in (b"tEXt", b"zTXt", b"iTXt"):
        return kind
    return data.partition(b"\0")[0] + b"\0"


def _profile(data: bytes) -> bytes | None:
    return _inflate(data.partition(b"\0")[2][1:]) or None  # after the name, one byte says that it is deflated


def _raw_exif(text: bytes) -> bytes:
    """Decode EXIF that was written in hexadecimal digits after its name and length, deflated or not."""
    if text.startswith(b"\0"):
        text = _inflate(text[1:])
    with suppress(ValueError):
        return bytes.fromhex(text.split(maxsplit=2)[-1].translate(None, _SPACES).decode("ascii"))
    return b""


def _inflate(data: bytes) -> bytes:
    """Inflate metadata. Return nothing if it is damaged or larger than metadata is."""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, MOST_PROFILE_BYTES)
    except zlib.error:
        return b""
    return inflated if inflater.eof else b""
