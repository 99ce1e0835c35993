"""Thumbnails of photos (32 x 32 grey pixels), and the crops of them that are compared."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.catalog.images.copy_index import THUMBNAIL_SIDE

SIDE = THUMBNAIL_SIDE
Grey = NDArray[np.floating[Any]]  # (32, 32), 0 to 255

# As (x, y, share): the whole photo, crops of 90 and 80 % of each side, and corners, because a caption leaves at least
# one corner unchanged.
CROPS = [(0.0, 0.0, 1.0), *((x, y, 0.9) for x in (0, 0.05, 0.1) for y in (0, 0.05, 0.1)), (0.1, 0.1, 0.8)]
CORNERS = [(x, y, 0.65) for x in (0, 0.35) for y in (0, 0.35)]


def as_grey(thumbnail: bytes) -> Grey:
    """Return a stored thumbnail as an array."""
    return np.frombuffer(thumbnail, dtype=np.uint8).reshape(SIDE, SIDE).astype(np.float32)


def cut(grey: Grey, with_corners: bool) -> Grey:
    """Return the CROPS of photos, and optionally the CORNERS, each stretched to the size of the whole photo.

    Args: grey, (..., 1, 32, 32) or (32, 32).
    Returns: (..., crops, 32, 32).
    """
    count = len(CROPS) + len(CORNERS) * with_corners
    parts: Grey = _ROWS[:count] @ grey @ _COLUMNS[:count].transpose(0, 2, 1)
    return parts


def _stretch(start: float, share: float) -> Grey:
    """Return the matrix that samples a part of one axis bilinearly."""
    positions = ((start + share * (np.arange(SIDE) + 0.5) / SIDE) * SIDE - 0.5).clip(0, SIDE - 1)
    matrix: Grey = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(SIDE))).astype(np.float32)
    return matrix


_ROWS = np.stack([_stretch(y, share) for _, y, share in CROPS + CORNERS])
_COLUMNS = np.stack([_stretch(x, share) for x, _, share in CROPS + CORNERS])
