"""Read the blocks of a GIF, and leave out those that no decoder needs.

Source: GIF89a specification, appendix A.
"""

import struct

from ml.ingest.pictures.picture_files import MOST_PARTS, PictureFile, damaged_error, several_frames, too_complex

_EXTENSION, _IMAGE, _END = 0x21, 0x2C, 0x3B
_TRANSPARENCY = 0xF9
_MOST_SUB_BLOCKS = 500_000


def read_gif(content: bytes) -> PictureFile:
    """Read a GIF. A GIF without its end is whole if its picture is.

    Raises: InvalidImageError, unreadable, animated or too_complex.
    """
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    position = 13 + _palette_bytes(flags)
    kept, has_picture = [content[:position]], False
    for _ in range(MOST_PARTS):
        kind = content[position] if position < len(content) else _END
        if kind == _END:
            break
        begin = position
        if kind == _IMAGE:
            if has_picture:
                raise several_frames()
            has_picture = True
            left, top, across, down, flags = struct.unpack_from("<HHHHB", content, position + 1)
            width, height = max(width, left + across), max(height, top + down)
            position = _skip_sub_blocks(content, position + 11 + _palette_bytes(flags))
        elif kind == _EXTENSION:
            position = _skip_sub_blocks(content, position + 2)
        elif has_picture:  # some programs leave bytes behind the picture
            break
        else:
            raise damaged_error("GIF")
        if kind == _IMAGE or content[begin + 1] == _TRANSPARENCY:
            kept.append(content[begin:position])
    else:
        raise too_complex("blocks in a GIF", MOST_PARTS)
    if not has_picture:
        raise damaged_error("GIF")
    return PictureFile("GIF", b"".join([*kept, bytes([_END])]), width, height)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_sub_blocks(content: bytes, position: int) -> int:
    """Return the position after a chain of sub-blocks; the end of the file if the chain is cut."""
    for _ in range(_MOST_SUB_BLOCKS):
        length = content[position] if position < len(content) else 0
        position += 1 + length
        if not length:
            return position
    raise too_complex("sub-blocks in a GIF", _MOST_SUB_BLOCKS)
