"""What can be measured of an image without knowing what it shows, its perceptual hash among it."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Sharpness depends on the scale that it is looked at: about the one that the network sees.
_LOOKED_AT_PIXELS = 256


@dataclass(frozen=True)
class Look:
    """What can be said of a photo without knowing what it shows.

    Args:
        brightness, contrast: mean and standard deviation of the greys, 0 to 255.
        sharpness: variance of the Laplacian of the greys.
        aspect: the longer side in parts of the shorter.
        phash: the perceptual hash, 64 bits.
    """

    brightness: float
    contrast: float
    sharpness: float
    aspect: float
    phash: int


def look_at(content: bytes) -> Look:
    """Measure an image as it is stored.

    Args: content, what `ml.ingest.validation.sanitise` wrote.
    """
    with Image.open(BytesIO(content)) as image:
        aspect = max(image.size) / min(image.size)
        image.draft("L", (_LOOKED_AT_PIXELS, _LOOKED_AT_PIXELS))  # a JPEG is decoded smaller, in less time
        grey = image.convert("L")
    grey.thumbnail((_LOOKED_AT_PIXELS, _LOOKED_AT_PIXELS), Image.Resampling.BOX)
    pixels = np.asarray(grey, dtype=np.float32)
    return Look(
        brightness=float(pixels.mean()),
        contrast=float(pixels.std()),
        sharpness=_sharpness(pixels),
        aspect=aspect,
        phash=_phash(grey),
    )


def _sharpness(grey: NDArray[np.float32]) -> float:
    from scipy.ndimage import laplace  # noqa: PLC0415 - half a second of import that only a source's images need

    return float(laplace(grey).var())


def _phash(grey: Image.Image) -> int:
    """64 bits, of which a resized, recompressed or lightly retouched copy changes few.

    Source: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010 (the DCT hash).
    """
    from scipy.fft import dctn  # noqa: PLC0415

    small = np.asarray(grey.resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float32)
    coarse = dctn(small)[:8, :8]
    return int.from_bytes(np.packbits(coarse > np.median(coarse)).tobytes())
