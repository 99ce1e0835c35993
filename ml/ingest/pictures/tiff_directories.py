"""Read the directories of TIFF. EXIF is one too."""

import struct
from dataclasses import dataclass

from ml.ingest.pictures.picture_files import (
    MOST_PROFILE_BYTES,
    PictureFile,
    damaged_error,
    orientation_of,
    several_frames,
    too_complex,
)
from ml.ingest.pictures.picture_limits import Limits

_WIDTH, _HEIGHT, _ORIENTATION, _XMP, _MAX_SAMPLE, _ICC = 256, 257, 274, 700, 281, 34675
# What a decoder needs. Everything else stays out: a strange tag would make it write a line for each of its values.
_NEEDED = frozenset([_WIDTH, _HEIGHT, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320])
_NEEDED |= frozenset([322, 323, 324, 325, 338, 339, 347, 512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532])
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_PLACES = frozenset([273, 324])
_MOST_PLACES = 20_000  # strips or tiles; a picture of 100 megapixels in strips of one row has 10,000


@dataclass(frozen=True)
class TiffFile(PictureFile):
    """A TIFF without its metadata.

    Args: tile_width, tile_height, pixels; 1 in a TIFF without tiles.
    """

    tile_width: int = 1
    tile_height: int = 1

    @property
    def decoded_pixels(self) -> int:
        across, down = -(-self.width // self.tile_width), -(-self.height // self.tile_height)
        return across * self.tile_width * down * self.tile_height

    def demand_decodable(self, limits: Limits) -> None:
        super().demand_decodable(limits)
        most = limits.pixels_of(self.file_format)
        if self.decoded_pixels > most:
            raise too_complex("pixels in all tiles of a TIFF", most)


@dataclass(frozen=True)
class _Layout:
    """Where a file's numbers are: the classic form, or BigTIFF."""

    order: str
    is_big: bool

    @property
    def count(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.is_big else "H"))

    @property
    def entry(self) -> struct.Struct:
        return struct.Struct(self.order + ("HHQ8s" if self.is_big else "HHL4s"))

    @property
    def offset(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.is_big else "L"))

    @property
    def pointer_at(self) -> int:
        return 8 if self.is_big else 4


@dataclass(frozen=True)
class _Entry:
    tag: int
    kind: int
    count: int
    value: bytes
    raw: bytes


@dataclass(frozen=True)
class _Directory:
    entries: dict[int, _Entry]
    next_at: int


def exif_orientation(exif: bytes) -> int | None:
    """Return the orientation in an EXIF block; None if there is none, or if the block is damaged."""
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        layout = _layout_of(exif)
        return _number(_read(exif, layout), exif, layout, _ORIENTATION)
    except (struct.error, ValueError, OverflowError):
        return None


def read_tiff(content: bytes) -> TiffFile:
    """Read the first directory of a TIFF, and write one that has no metadata.

    Raises: InvalidImageError, unreadable, animated or too_complex.
    """
    layout = _layout_of(content)
    directory = _read(content, layout)
    width, height = (_number(directory, content, layout, tag) or 0 for tag in (_WIDTH, _HEIGHT))
    if directory.next_at:
        raise several_frames()
    if not width or not height:
        raise damaged_error("TIFF")
    if any(directory.entries[tag].count > _MOST_PLACES for tag in _PLACES & directory.entries.keys()):
        raise too_complex("strips or tiles", _MOST_PLACES)
    orientation = _number(directory, content, layout, _ORIENTATION)
    tile_width, tile_height = _tile(directory, content, layout)
    return TiffFile(
        "TIFF",
        _with_needed_tags(content, layout, directory),
        width,
        height,
        orientation_of(orientation, _bytes(directory, content, layout, _XMP)),
        _bytes(directory, content, layout, _ICC) or None,
        _number(directory, content, layout, _MAX_SAMPLE),
        tile_width,
        tile_height,
    )


def _tile(directory: _Directory, content: bytes, layout: _Layout) -> tuple[int, int]:
    """Return the size of the tiles; 1 x 1 without tiles. A decoder takes one of the tags as a sign of tiles."""
    tags = (_TILE_WIDTH, _TILE_HEIGHT)
    if not directory.entries.keys() & set(tags):
        return 1, 1
    width, height = (_number(directory, content, layout, tag) for tag in tags)
    if not width or not height:
        raise damaged_error("TIFF")
    return width, height


def _layout_of(content: bytes) -> _Layout:
    layouts = {
        b"II*\0": _Layout("<", False),
        b"MM\0*": _Layout(">", False),
        b"II+\0": _Layout("<", True),
        b"MM\0+": _Layout(">", True),
    }
    if content[:4] not in layouts:
        raise ValueError
    return layouts[content[:4]]


def _read(content: bytes, layout: _Layout) -> _Directory:
    (at,) = layout.offset.unpack_from(content, layout.pointer_at)
    (count,) = layout.count.unpack_from(content, at)
    start, size = at + layout.count.size, layout.entry.size
    if count > 0xFFFF:
        raise ValueError
    entries: dict[int, _Entry] = {}
    for position in range(start, min(start + count * size, len(content) - size + 1), size):
        tag, kind, values, value = layout.entry.unpack_from(content, position)
        entries.setdefault(tag, _Entry(tag, kind, values, value, content[position : position + size]))
    end = start + count * size
    next_at = layout.offset.unpack_from(content, end)[0] if end + layout.offset.size <= len(content) else 0
    return _Directory(entries, next_at)


def _bytes(directory: _Directory, content: bytes, layout: _Layout, tag: int) -> bytes:
    entry = directory.entries.get(tag)
    if entry is None:
        return b""
    size = entry.count * _SIZES.get(entry.kind, 1)
    if size > MOST_PROFILE_BYTES:
        return b""
    if size <= len(entry.value):
        return entry.value[:size]
    (at,) = layout.offset.unpack(entry.value)
    return content[at : at + size]


def _number(directory: _Directory, content: bytes, layout: _Layout, tag: int) -> int | None:
    """Return the first value of a tag, if it is an integer."""
    kinds = {1: "B", 3: "H", 4: "L", 16: "Q"}
    entry = directory.entries.get(tag)
    if entry is None or entry.kind not in kinds or not entry.count:
        return None
    number = struct.Struct(layout.order + kinds[entry.kind])
    value = _bytes(directory, content, layout, tag)
    return int(number.unpack_from(value)[0]) if len(value) >= number.size else None


def _with_needed_tags(content: bytes, layout: _Layout, directory: _Directory) -> bytes:
    """Append a directory that names the needed tags only, and let the file begin with it."""
    kept = [directory.entries[tag].raw for tag in sorted(_NEEDED & directory.entries.keys())]
    padding = b"\0" * (len(content) % 2)
    at = len(content) + len(padding)
    begin, end = content[: layout.pointer_at], content[layout.pointer_at + layout.offset.size :]
    new = layout.count.pack(len(kept)) + b"".join(kept) + layout.offset.pack(0)
    return begin + layout.offset.pack(at) + end + padding + new
