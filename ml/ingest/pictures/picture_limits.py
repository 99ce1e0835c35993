"""How large pictures may be: one set of limits for ingestion, and a narrower one for answering requests."""

from dataclasses import dataclass

MIN_SIDE_PIXELS = 32
MEGABYTE = 1024 * 1024
MEGAPIXEL = 1_000_000


@dataclass(frozen=True)
class Limits:
    """The limits of one way in.

    Args:
        bytes: size of the file.
        jpeg_pixels: of a JPEG. Its decoder can shrink while it reads, so it needs little memory.
        scanned_pixels: of all scans of a JPEG together. The decoder goes over the whole picture once per scan.
        coefficient_bytes: memory for the coefficients of a progressive JPEG, which the decoder keeps all at once.
        pixels: of the other formats. They are decoded whole before they are shrunk, with up to 20 bytes per pixel.
        kept_pixels: of a JPEG whose bytes are stored without being written anew.
        stored_pixels: a picture that is written anew is shrunk to at most this.
    """

    bytes: int
    jpeg_pixels: int
    scanned_pixels: int
    coefficient_bytes: int
    pixels: int
    kept_pixels: int
    stored_pixels: int

    def pixels_of(self, file_format: str) -> int:
        """Return the limit on the pixels of a format."""
        return self.jpeg_pixels if file_format == "JPEG" else self.pixels


INGESTION = Limits(
    bytes=50 * MEGABYTE,
    jpeg_pixels=100 * MEGAPIXEL,
    scanned_pixels=2000 * MEGAPIXEL,
    coefficient_bytes=600 * MEGABYTE,
    pixels=100 * MEGAPIXEL,
    kept_pixels=16 * MEGAPIXEL,
    stored_pixels=16 * MEGAPIXEL,
)
# The network sees 320 pixels of a side at most, and all requests of a service share one container of 1 GB.
ANSWERING = Limits(
    bytes=4 * MEGABYTE,
    jpeg_pixels=100 * MEGAPIXEL,
    scanned_pixels=400 * MEGAPIXEL,
    coefficient_bytes=160 * MEGABYTE,
    pixels=13 * MEGAPIXEL,
    kept_pixels=16 * MEGAPIXEL,
    stored_pixels=4 * MEGAPIXEL,
)
