"""Images as parts of items."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageRecord:
    """An image whose bytes are in the object store.

    Args:
        sha256: of the received bytes.
        media_type, width, height (pixels), byte_count: of the stored bytes.
    """

    sha256: str
    media_type: str
    width: int
    height: int
    byte_count: int
