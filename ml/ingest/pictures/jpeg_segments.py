"""Read the segments of a JPEG, and leave out those that no decoder needs.

Source: ITU-T T.81, annex B.
"""

import re
import struct
from dataclasses import dataclass, field

from ml.errors import InvalidImageError
from ml.ingest.pictures.picture_files import (
    MOST_PARTS,
    MOST_PROFILE_BYTES,
    PictureFile,
    damaged_error,
    orientation_of,
    too_complex,
)
from ml.ingest.pictures.picture_limits import MEGABYTE, MEGAPIXEL, Limits
from ml.ingest.pictures.tiff_directories import exif_orientation

SCAN, END = b"\xff\xda", b"\xff\xd9"

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN_8_BIT = frozenset([0xC0, 0xC1, 0xC2])
_PROGRESSIVE = frozenset([0xC2, 0xC6, 0xCA, 0xCE])
_TABLES = frozenset([0xC4, 0xCC, 0xDB, 0xDC, 0xDD])
_APPLICATION_DATA = frozenset([*range(0xE0, 0xF0), 0xFE])
_END, _SCAN, _EXIF, _ICC, _JFIF, _ADOBE = 0xD9, 0xDA, 0xE1, 0xE2, 0xE0, 0xEE
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")  # not a stuffed byte, a restart or a padding
_ICC_NAME, _XMP_NAME = b"ICC_PROFILE\0", b"http://ns.adobe.com/xap/1.0/\0"
_MOST_SCANS = 100  # an encoder writes about ten
_MOST_STORED_SCANS = 20
_MOST_STORED_COEFFICIENT_BYTES = 40 * MEGABYTE
_MOST_BYTES_PER_PIXEL = 5  # noise at the best quality takes 3; what is more holds something else
_TABLE_BYTES = 10_000


@dataclass(frozen=True)
class JpegFile(PictureFile):
    """A JPEG without its metadata.

    Args:
        scans: the headers of its scans.
        component_count: 1 for grey, 3 for colour, 4 for CMYK.
        samples_per_pixel: of all components together.
        is_progressive: its decoder keeps the coefficients of the whole picture.
        is_common: 8 bits and Huffman codes, which every browser can show.
        has_end: it has an end marker. `content` never has one.
    """

    scans: list[bytes] = field(default_factory=list)
    component_count: int = 3
    samples_per_pixel: float = 3
    is_progressive: bool = False
    is_common: bool = True
    has_end: bool = True

    def demand_decodable(self, limits: Limits) -> None:
        super().demand_decodable(limits)
        pixels = self.width * self.height
        if self._coefficient_bytes > limits.coefficient_bytes:
            most = limits.coefficient_bytes / (2 * self.samples_per_pixel * MEGAPIXEL)
            raise InvalidImageError(
                "too_many_pixels",
                f"expected at most {most:.0f} megapixels in such a progressive JPEG, got {self.width} x {self.height}: "
                "send a smaller copy, or save it without progressive",
            )
        if len(self.scans) * pixels > limits.scanned_pixels:
            raise too_complex("scans in a JPEG of this size", limits.scanned_pixels // pixels)

    @property
    def may_be_stored(self) -> bool:
        """Whether the file without its metadata can be shown and decoded by anyone, at little cost."""
        has_photo_size = len(self.content) <= _MOST_BYTES_PER_PIXEL * self.width * self.height + _TABLE_BYTES
        is_cheap = len(self.scans) <= _MOST_STORED_SCANS and self._coefficient_bytes <= _MOST_STORED_COEFFICIENT_BYTES
        return self.is_common and self.component_count in (1, 3) and is_cheap and has_photo_size

    @property
    def _coefficient_bytes(self) -> float:
        """The memory that a decoder needs for the coefficients, if it keeps all of them."""
        return 2 * self.samples_per_pixel * self.width * self.height if self.is_progressive else 0

    @property
    def has_every_scan(self) -> bool:
        """Whether its scans contain every coefficient at full precision."""
        return len({each for scan in self.scans for each in _full_coefficients(scan, self.is_progressive)}) == (
            64 * self.component_count
        )


def read_jpeg(content: bytes) -> JpegFile:
    """Read a JPEG up to its end marker. What follows is not part of it: phones append previews and videos.

    Raises: InvalidImageError, unreadable or too_complex.
    """
    segments = _Segments(content)
    segments.read()
    return segments.result()


class _Segments:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._kept = [b"\xff\xd8"]
        self._frame: tuple[int, bytes] | None = None
        self._scans: list[bytes] = []
        self._profile: dict[int, bytes] = {}
        self._profile_parts = 0
        self._exif = b""
        self._xmp: list[bytes] = []
        self._has_end = False

    def read(self) -> None:
        position = 2
        for _ in range(MOST_PARTS):
            found = _MARKER.search(self._content, position)
            end = found.start() if found else len(self._content)
            if self._scans:
                self._kept.append(self._content[position:end])  # coded pixels
            if found is None or found[1][0] == _END:
                self._has_end = found is not None
                return
            position = self._read_segment(found[1][0], found.end())
        raise too_complex("segments in a JPEG", MOST_PARTS)

    def _read_segment(self, marker: int, position: int) -> int:
        length = int.from_bytes(self._content[position : position + 2], "big")
        end = position + length
        if length < 2 or end > len(self._content):
            raise damaged_error("JPEG")
        payload = self._content[position + 2 : end]
        if marker == _SCAN:
            self._scans.append(payload)
            if len(self._scans) > _MOST_SCANS:
                raise too_complex("scans in a JPEG", _MOST_SCANS)
        elif marker in _START_OF_FRAME:
            self._frame = self._frame or (marker, payload)
        elif marker in _APPLICATION_DATA:
            payload = self._read_application_data(marker, payload)
            if not payload:
                return end
        elif marker not in _TABLES:
            raise damaged_error("JPEG")
        self._kept.append(struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload)
        return end

    def _read_application_data(self, marker: int, payload: bytes) -> bytes:
        """Note what the pixels need. Return what the decoder needs: how the colours are coded."""
        if marker == _JFIF and payload.startswith(b"JFIF\0"):
            return payload[:12].ljust(12, b"\0") + b"\0\0"  # without its thumbnail
        if marker == _ADOBE and payload.startswith(b"Adobe"):
            return payload[:12]
        if marker == _EXIF and payload.startswith(b"Exif\0"):
            self._exif = self._exif or payload  # the first one counts
        elif marker == _EXIF and payload.startswith(_XMP_NAME):
            self._xmp.append(payload)
        elif marker == _ICC and payload.startswith(_ICC_NAME) and len(payload) > len(_ICC_NAME) + 2:
            number, self._profile_parts = payload[len(_ICC_NAME) : len(_ICC_NAME) + 2]
            self._profile.setdefault(number, payload[len(_ICC_NAME) + 2 :])
        return b""

    def result(self) -> JpegFile:
        if self._frame is None or not self._scans:
            raise damaged_error("JPEG")
        marker, frame = self._frame
        precision, height, width, count = struct.unpack_from(">BHHB", frame)
        factors = [(each >> 4, each & 15) for each in frame[7::3][:count]]
        if len(factors) != count or not count or any(0 in each for each in factors):
            raise damaged_error("JPEG")
        largest = max(across for across, _ in factors) * max(down for _, down in factors)
        is_whole = sorted(self._profile) == list(range(1, self._profile_parts + 1))
        profile = b"".join(part for _, part in sorted(self._profile.items())) if is_whole else b""
        content = b"".join(self._kept)
        return JpegFile(
            "JPEG",
            content if self._has_end else content.rstrip(b"\xff"),  # the first half of an end marker
            width,
            height,
            orientation_of(exif_orientation(self._exif), b"".join(self._xmp)),
            profile if 0 < len(profile) <= MOST_PROFILE_BYTES else None,
            scans=self._scans,
            component_count=count,
            samples_per_pixel=sum(across * down for across, down in factors) / largest,
            is_progressive=marker in _PROGRESSIVE,
            is_common=marker in _HUFFMAN_8_BIT and precision == 8,
            has_end=self._has_end,
        )


def _full_coefficients(scan: bytes, is_progressive: bool) -> set[tuple[int, int]]:
    """Return the components and the numbers of the coefficients that a scan brings to full precision."""
    count = scan[0] if scan else 0
    components = scan[1 : 1 + 2 * count : 2]
    if not is_progressive:
        return {(component, number) for component in components for number in range(64)}
    first, last, precision = (*scan[1 + 2 * count : 4 + 2 * count], 0, 0, 1)[:3]
    if precision & 15:
        return set()
    return {(component, number) for component in components for number in range(first, min(last, 63) + 1)}
