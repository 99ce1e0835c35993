"""Read the header of a BMP.

Source: Microsoft, BITMAPV5HEADER.
"""

import struct

from ml.ingest.pictures.picture_files import MOST_PROFILE_BYTES, PictureFile, too_complex

_FILE_HEADER_BYTES = 14
_CORE_HEADER_BYTES, _V5_HEADER_BYTES = 12, 124
_RUN_LENGTHS = (1, 2)
_MOST_RUN_LENGTH_BYTES = 1_000_000  # Pillow decodes them in Python
_EMBEDDED_PROFILE = b"DEBM"  # 'MBED' as a little-endian number


def read_bmp(content: bytes) -> PictureFile:
    """Read a BMP.

    Raises: InvalidImageError, too_complex; struct.error, the header is cut.
    """
    (header_bytes,) = struct.unpack_from("<L", content, _FILE_HEADER_BYTES)
    if header_bytes == _CORE_HEADER_BYTES:
        width, height = struct.unpack_from("<HH", content, 18)
        return PictureFile("BMP", content, width, height)
    width, height = struct.unpack_from("<ll", content, 18)
    (compression,) = struct.unpack_from("<L", content, 30)
    if compression in _RUN_LENGTHS and len(content) > _MOST_RUN_LENGTH_BYTES:
        raise too_complex("bytes in a BMP with run lengths", _MOST_RUN_LENGTH_BYTES)
    return PictureFile("BMP", content, abs(width), abs(height), icc_profile=_profile(content, header_bytes))


def _profile(content: bytes, header_bytes: int) -> bytes | None:
    if header_bytes < _V5_HEADER_BYTES or len(content) < _FILE_HEADER_BYTES + _V5_HEADER_BYTES:
        return None
    if content[70:74] != _EMBEDDED_PROFILE:
        return None
    offset, size = struct.unpack_from("<LL", content, 126)
    at = _FILE_HEADER_BYTES + offset
    return content[at : at + size] if size <= MOST_PROFILE_BYTES else None
