"""What can be measured of an image without knowing what it shows: light, contrast, sharpness, and a thumbnail."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.catalog.images.copy_index import THUMBNAIL_SIDE, ImageStatistics

# Sharpness depends on the scale that it is looked at: about the one that the network sees.
_LOOKED_AT_PIXELS = 256


def measure(content: bytes) -> ImageStatistics:
    """Measure an image as it is stored.

    Args: content, what `ml.ingest.validation.sanitise` wrote.
    """
    with Image.open(BytesIO(content)) as image:
        aspect = max(image.size) / min(image.size)
        image.draft("L", (_LOOKED_AT_PIXELS, _LOOKED_AT_PIXELS))  # a JPEG is decoded smaller, in less time
        grey = image.convert("L")
    grey.thumbnail((_LOOKED_AT_PIXELS, _LOOKED_AT_PIXELS), Image.Resampling.BOX)
    pixels = np.asarray(grey, dtype=np.float32)
    return ImageStatistics(
        thumbnail=grey.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR).tobytes(),
        brightness=float(pixels.mean()),
        contrast=float(pixels.std()),
        sharpness=_sharpness(pixels),
        aspect=aspect,
    )


def _sharpness(grey: NDArray[np.float32]) -> float:
    """The variance of the Laplacian, the border mirrored."""
    framed = np.pad(grey, 1, mode="symmetric")
    across, down = framed[1:-1, :-2] + framed[1:-1, 2:], framed[:-2, 1:-1] + framed[2:, 1:-1]
    return float((across + down - 4 * grey).var())
