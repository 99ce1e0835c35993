"""Compute image statistics without a model: brightness, contrast, sharpness, aspect ratio, and a thumbnail."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.catalog.images.copy_index import THUMBNAIL_SIDE, ImageStatistics

# Sharpness depends on the image size, so it is measured at about the input size of the network.
_LONGEST_SIDE = 256


def measure(content: bytes) -> ImageStatistics:
    """Compute the statistics of a stored image.

    Args: content, an image file that `ml.ingest.validation.sanitise` wrote.
    """
    with Image.open(BytesIO(content)) as image:
        aspect = max(image.size) / min(image.size)
        image.draft("L", (_LONGEST_SIDE, _LONGEST_SIDE))  # decodes a JPEG at a smaller size, which is faster
        grey = image.convert("L")
    grey.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(grey, dtype=np.float32)
    return ImageStatistics(
        thumbnail=grey.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR).tobytes(),
        brightness=float(pixels.mean()),
        contrast=float(pixels.std()),
        sharpness=_sharpness(pixels),
        aspect=aspect,
    )


def _sharpness(grey: NDArray[np.float32]) -> float:
    """Return the variance of the Laplacian, with a mirrored border."""
    framed = np.pad(grey, 1, mode="symmetric")
    across, down = framed[1:-1, :-2] + framed[1:-1, 2:], framed[:-2, 1:-1] + framed[2:, 1:-1]
    return float((across + down - 4 * grey).var())
