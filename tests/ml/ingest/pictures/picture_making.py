"""Picture files as programs and cameras write them, and as nobody should."""

import base64
import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

# A picture of 48x40 pixels by libheif and x265, with the EXIF orientation 6 and an artist. Nothing here can write HEIC.
HEIC = base64.b64decode(
    """
AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAAAAAERAAA
IAAQAAAAAB7AABAAAAAAAAANoAAgAAAAACxgABAAAAAAAAADwAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABF
eGlmAAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAA
MAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlz
cGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAADAAAAABAAAAKAAAAAH////wAAAAAv///+gAAAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAA
AAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAR5tZGF0AAAA1igBrxOA9SlWFEkXMgK+zU2aiCJEu+9CkYomEM3aacrvrW37
v6OGaTbTFte2SuA+o+BmgSKwNBBAFv5nNu8nSBnO2IzYDBHTj0B8ao/Zw4/h/766i4FvyOxenp41a4FefAI9ElUfgRAdtKTaq0nYOg+o7pT/NCzLjtcbMA
wwrEQPZj1dMk+QXtAdqPXXhzQoiT5ay3iM+kbR2EHCmdoxvtSOs6XBRSS2msa0nX2OLpKCsTMUuRnYyDbg5W8F9gPE16oMttIY+t21/Cng8Oe0nAB9lQXt
UfgAAAAGRXhpZgAATU0AKgAAAAgAAgESAAMAAAABAAYAAAE7AAIAAAALAAAAJgAAAABDbGVtZW50aW5lAAA=
"""
)
# libheif 1.23 reads memory that it does not own, which ends the process.
FATAL_HEIC = HEIC[:176] + b"\xff" + HEIC[177:]


def write(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """A PNG with more chunks behind its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def with_segments(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG with more segments at its beginning."""
    more = (struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in segments)
    return jpeg[:2] + b"".join(more) + jpeg[2:]


def png_16_bit(values: np.ndarray) -> bytes:
    """A PNG of 16-bit grey (height, width), grey with alpha, RGB or RGBA (height, width, 2 to 4)."""
    kind = 0 if values.ndim == 2 else {2: 4, 3: 2, 4: 6}[values.shape[2]]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff_16_bit(values: np.ndarray, order: str = "<", **more: int) -> bytes:
    """An uncompressed TIFF of 16-bit grey or RGB, with its numbers in an order."""
    height, width = values.shape[:2]
    samples = 1 if values.ndim == 2 else 3
    pixels = values.astype(f"{order}u2").tobytes()
    at = 8 + len(pixels)
    depths = struct.pack(f"{order}3H", 16, 16, 16)
    fields = [(256, 4, 1, width), (257, 4, 1, height)]
    fields += [(258, 3, 1, 16) if samples == 1 else (258, 3, 3, at)]
    fields += [(259, 3, 1, 1), (262, 3, 1, 1 if samples == 1 else 2), (273, 4, 1, 8), (277, 3, 1, samples)]
    fields += [(278, 4, 1, height), (279, 4, 1, len(pixels))]
    fields += [(281, 3, 1, more["white"])] if "white" in more else []
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", at + len(depths))
    return head + pixels + depths + directory(fields, order)


def directory(fields: list[tuple[int, int, int, int]], order: str = "<", next_at: int = 0) -> bytes:
    """A directory of a TIFF: tag, type, count, value of each field."""
    entries = b""
    for tag, kind, count, value in fields:
        is_short = kind == 3 and count == 1
        entries += struct.pack(f"{order}HHL", tag, kind, count)
        entries += struct.pack(f"{order}HH" if is_short else f"{order}L", *([value, 0] if is_short else [value]))
    return struct.pack(f"{order}H", len(fields)) + entries + struct.pack(f"{order}L", next_at)


def bmp_32_bit(rgb: np.ndarray, alpha: int, profile: bytes = b"") -> bytes:
    """A BMP with four bytes per pixel, as Windows writes it: a header of version 5 that names the masks."""
    height, width = rgb.shape[:2]
    pixels = np.dstack([rgb[::-1, :, ::-1], np.full((height, width), alpha, np.uint8)]).tobytes()
    masks = struct.pack("<4L", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<LllHHLLllLL", 124, width, height, 1, 32, 3, len(pixels), 2835, 2835, 0, 0) + masks
    header += b"DEBM" if profile else b" niW"
    header = header.ljust(108, b"\0") + struct.pack("<4L", 4, 124 + len(pixels), len(profile), 0)
    body = header + pixels + profile
    return struct.pack("<2sLHHL", b"BM", 14 + len(body), 0, 0, 14 + 124) + body


def adobe_rgb() -> bytes:
    """An ICC profile of Adobe RGB (1998)."""
    return matrix_profile([(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)], 2.2)


def display_p3() -> bytes:
    """An ICC profile with the colours of Apple's displays; its curve is a power where Apple's is sRGB's."""
    return matrix_profile([(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)], 2.2)


def matrix_profile(primaries: list[tuple[float, float, float]], gamma: float) -> bytes:
    """An ICC profile of version 2 from the XYZ of red, green and blue under D50, and one power for all.

    Source: ICC.1:2001-04.
    """

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">l", round(value * 65536)) for value in values)

    def text(value: bytes) -> bytes:
        return b"desc\0\0\0\0" + struct.pack(">L", len(value) + 1) + value + bytes(79)

    xyz, curve = b"XYZ \0\0\0\0", b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", round(gamma * 256)) + b"\0\0"
    tags = {b"desc": text(b"made"), b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz + fixed(0.9642, 1, 0.8249)}
    tags |= {kind: xyz + fixed(*each) for kind, each in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    at, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for kind, value in tags.items():
        table += kind + struct.pack(">LL", at + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(">L4xL4s4s4s", at + len(data), 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">L", len(tags)) + table + data


def webp_of_size(side: int) -> bytes:
    """A lossless WebP of one colour, which needs no bit per pixel, with a size written into its header."""
    content = bytearray(write(Image.new("RGB", (64, 64), "red"), "WEBP", lossless=True, quality=0, method=0))
    at = content.index(b"VP8L") + 9
    bits = int.from_bytes(content[at : at + 4], "little") >> 28 << 28 | (side - 1) << 14 | side - 1
    content[at : at + 4] = bits.to_bytes(4, "little")
    return bytes(content)


def with_more_scans(jpeg: bytes, count: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    at = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[at:-2] * count + jpeg[-2:]
