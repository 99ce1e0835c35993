"""Estimate what a picture costs, before it is decoded: whoever waits for a turn should not wait for a hostile one."""

from ml.ingest.pictures.jpeg_segments import JpegFile
from ml.ingest.pictures.picture_limits import MEGAPIXEL, Limits
from ml.ingest.pictures.recognition import is_heic, read_picture_file

# Measured on a core of 2.5 GHz, per megapixel.
_SECONDS = {"WEBP": 0.035, "HEIC": 0.04}
_OTHER_SECONDS = 0.02
_JPEG_SECONDS = 0.01
_SCAN_SECONDS = 0.002


def estimate_seconds(content: bytes, limits: Limits) -> float:
    """Return about how many seconds of computing a picture takes, from its header alone.

    Raises: InvalidImageError, a file that may not be decoded at all.
    """
    if is_heic(content):  # only its decoder can read it
        return _SECONDS["HEIC"] * limits.pixels_of("HEIC") / MEGAPIXEL
    file = read_picture_file(content)
    file.demand_decodable(limits)
    megapixels = file.decoded_pixels / MEGAPIXEL
    if isinstance(file, JpegFile):
        return megapixels * (_JPEG_SECONDS + _SCAN_SECONDS * len(file.scans))
    return megapixels * _SECONDS.get(file.file_format, _OTHER_SECONDS)
