"""Small files that a decoder pays for with memory or time: for each, a function that makes it."""

import struct
import zlib
from collections.abc import Callable

from PIL import Image

from tests.ml.ingest.pictures.picture_making import (
    chunk,
    directory,
    webp_of_size,
    with_chunks,
    with_more_scans,
    with_segments,
    write,
)


def empty_png(side: int, colour_type: int = 6, depth: int = 8, is_interlaced: bool = False) -> bytes:
    """A PNG of zeros. Its pixels take a thousand times its size."""
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    pixels = side * (1 + side * bits // 8) + 20 * side
    header = struct.pack(">IIBBBBB", side, side, depth, colour_type, 0, 0, is_interlaced)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(pixels), 9)), chunk(b"IEND", b"")]
    )


def tiles(count: int) -> bytes:
    """A TIFF whose tiles all lie at the same place."""
    at = 8 + 256
    places, sizes = struct.pack(f"<{count}L", *[8] * count), struct.pack(f"<{count}L", *[256] * count)
    fields = [(256, 4, 1, 3600), (257, 4, 1, 3600), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
    fields += [(322, 3, 1, 16), (323, 3, 1, 16), (324, 4, count, at), (325, 4, count, at + len(places))]
    head = b"II*\0" + struct.pack("<L", at + len(places) + len(sizes))
    return head + bytes(256) + places + sizes + directory(fields)


def one_tile(side: int, kind: int = 4, tags: tuple[int, ...] = (322, 323)) -> bytes:
    """A TIFF of 64x64 with one deflated tile. Args: kind, the type of the tile's size; tags, those that are there."""
    deflater = zlib.compressobj(9)
    data = b"".join(deflater.compress(bytes(side)) for _ in range(side)) + deflater.flush()
    data += b"\0" * (len(data) % 2)
    fields = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    fields += [(tag, kind, 1, side) for tag in tags] + [(324, 4, 1, 8), (325, 4, 1, len(data))]
    return b"II*\0" + struct.pack("<L", 8 + len(data)) + data + directory(fields)


def grey_with(*segments: tuple[int, bytes]) -> bytes:
    return with_segments(grey(4096), *segments)


def full_exif() -> bytes:
    """EXIF with as many entries as a segment takes, and without an orientation."""
    return b"Exif\0\0" + b"II*\0" + struct.pack("<L", 8) + directory([(1000 + each, 4, 1, 1) for each in range(5000)])


def many_sub_blocks() -> bytes:
    gif = write(Image.new("RGB", (64, 64)).quantize(2), "GIF")
    at = 13 + 3 * (2 << (gif[10] & 7))
    return gif[:at] + (b"\x21\xfe" + b"\1x" * 499_000 + b"\0") * 4 + gif[at:]


def many_frames(file_format: str) -> bytes:
    frames = [Image.new("L", (32, 32), number % 251) for number in range(1000)]
    return write(frames[0], file_format, save_all=True, append_images=frames[1:], duration=20)


def looped_tiff(next_at: int) -> bytes:
    content = write(Image.new("RGB", (64, 64)), "TIFF")
    at = struct.unpack_from("<L", content, 4)[0]
    end = at + 2 + 12 * struct.unpack_from("<H", content, at)[0]
    return content[:end] + struct.pack("<L", next_at or at) + content[end + 4 :]


def grey(pixels: int, **options: bool) -> bytes:
    side = int(pixels**0.5)
    return write(Image.new("L", (side, side), 77), "JPEG", quality=20, **options)


XMP = b"http://ns.adobe.com/xap/1.0/\0"
RAW_EXIF = b"Raw profile type exif\0\0"
SPACED = b"\nexif\n 1\n" + b"a " * 2_000_000

HOSTILE: dict[str, Callable[[], bytes]] = {
    "a lossless WebP of 50 megapixels in 34 bytes": lambda: webp_of_size(7070),
    "the largest lossless WebP": lambda: webp_of_size(3600),
    "an RGBA PNG of 50 megapixels": lambda: empty_png(7070),
    "the largest RGBA PNG": lambda: empty_png(3600),
    "the largest RGBA PNG of 16 bits": lambda: empty_png(3600, depth=16),
    "the largest interlaced PNG": lambda: empty_png(3600, is_interlaced=True),
    "a grey JPEG of 50 megapixels": lambda: grey(50_000_000),
    "a grey progressive JPEG of 50 megapixels": lambda: grey(50_000_000, progressive=True),
    "a grey progressive JPEG of 100 megapixels": lambda: grey(100_000_000, progressive=True),
    "9000 scans": lambda: with_more_scans(write(Image.new("RGB", (1000, 1000)), "JPEG", progressive=True), 9000),
    "90 scans of 16 megapixels": lambda: with_more_scans(grey(16_000_000, progressive=True), 84),
    "an animated GIF": lambda: many_frames("GIF"),
    "an animated PNG": lambda: many_frames("PNG"),
    "an animated WebP": lambda: many_frames("WEBP"),
    "a TIFF of many pages": lambda: many_frames("TIFF"),
    "a directory of a TIFF that follows itself": lambda: looped_tiff(0),
    "a directory of a TIFF that follows nothing": lambda: looped_tiff(2**32 - 2),
    "50,000 tiles": lambda: tiles(50_625),
    "20,000 tiles": lambda: tiles(20_000),
    "a tile of 26,000 x 26,000": lambda: one_tile(26_000),
    "a tile whose size is a signed number": lambda: one_tile(26_000, kind=9),
    "a tile of which only the width is stated": lambda: one_tile(26_000, tags=(322,)),
    "the largest tile": lambda: one_tile(3584),
    "48,000 pieces of XMP": lambda: grey_with(*[(0xE1, XMP + b" " * 16)] * 48_000),
    "4 MB of XMP": lambda: grey_with(*[(0xE1, XMP + b"tiff:Orientation=" * 3800)] * 62),
    "4 MB of EXIF": lambda: grey_with(*[(0xE1, full_exif())] * 67),
    "digits that are spaced": lambda: with_chunks(empty_png(64), chunk(b"zTXt", RAW_EXIF + zlib.compress(SPACED))),
    "2,000,000 sub-blocks": many_sub_blocks,
    "900,000 comments": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 900_000,
    "340,000 texts": lambda: empty_png(64)[:33] + chunk(b"tEXt", b"") * 340_000,
    "4 MB of half a marker": lambda: grey(4096)[:-2] + b"\xff" * 4_000_000,
    "an inflated text": lambda: with_chunks(empty_png(64), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**9)))),
    "an inflated profile": lambda: with_chunks(empty_png(64), chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**9)))),
}
