"""Read the chunks of a WebP, and leave out those that no decoder needs.

Source: RFC 9649.
"""

import struct

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

_PIXELS = frozenset([b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"])
_HAS_ALPHA, _IS_ANIMATED = 0x10, 0x02


def read_webp(content: bytes) -> PictureFile:
    """Read a WebP.

    Raises: InvalidImageError, unreadable, animated or too_complex.
    """
    kept, metadata = list[bytes](), dict[bytes, bytes]()
    sizes = [(0, 0)]
    position, frames = 12, 0
    for _ in range(MOST_PARTS):
        if position + 8 > len(content):
            break
        kind, length = struct.unpack_from("<4sL", content, position)
        end = position + 8 + length + length % 2
        data = content[position + 8 : position + 8 + length]
        frames += kind == b"ANMF"
        if frames > 1:
            raise several_frames()
        if kind in _PIXELS or kind == b"VP8X":
            if len(data) < length:
                raise damaged_error("WebP")
            sizes.append(_size(kind, data))
            flags = bytes([data[0] & (_HAS_ALPHA | _IS_ANIMATED)]) + data[1:] if kind == b"VP8X" else data
            kept.append(struct.pack("<4sL", kind, length) + flags + b"\0" * (length % 2))
        elif kind in (b"EXIF", b"XMP ", b"ICCP") and length <= MOST_PROFILE_BYTES:
            metadata.setdefault(kind, data)
        position = end
    else:
        raise too_complex("chunks in a WebP", MOST_PARTS)
    width, height = (max(each) for each in zip(*sizes, strict=True))
    if not width or not height:
        raise damaged_error("WebP")
    body = b"WEBP" + b"".join(kept)
    return PictureFile(
        "WEBP",
        b"RIFF" + struct.pack("<L", len(body)) + body,
        width,
        height,
        orientation_of(exif_orientation(metadata.get(b"EXIF", b"")), metadata.get(b"XMP ", b"")),
        metadata.get(b"ICCP"),
    )


def _size(kind: bytes, data: bytes) -> tuple[int, int]:
    """Return the width and height that a chunk states; zeros if it states none."""
    if kind == b"VP8X" and len(data) >= 10:
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if kind == b"VP8 " and len(data) >= 10:
        width, height = struct.unpack_from("<HH", data, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and len(data) >= 5:
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return 0, 0
