"""Whether a photo that nobody looked at shows anything to learn from. Each threshold is a constant with its reason."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.errors import InvalidImageError

REASONS = {
    "too_dark": "hardly any light",
    "blank": "one even surface",
    "blurred": "no sharp edge anywhere",
    "wrong_aspect": "a strip, not a photo",
    "near_duplicate": "looks like an image that is known",
    "near_evaluation": "looks like an image that models are measured with",
}

# Sharpness depends on the scale that it is looked at: about the one that the network sees.
_LOOKED_AT_PIXELS = 256
# Of 255. The darkest of 150 mushroom photos has 25 (docs/decisions/0062); a lens cap or a failed flash has under 10.
_DARKEST_MEAN = 12.0
# Of 255. The flattest of them has 21; noise and JPEG on an even surface reach 2.
_LEAST_DEVIATION = 5.0
# Variance of the Laplacian. The softest of them has 288; blurred by two pixels, half of them have less than 41.
# Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.
_LEAST_SHARPNESS = 100.0
# Cameras give up to 16:9, panoramas of phones 3:1 and more; squeezed into the network's square those show nothing.
_LARGEST_ASPECT = 3.0


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


def check_quality(look: Look) -> None:
    """Refuse a photo that shows nothing.

    Raises: InvalidImageError, with one of REASONS.
    """
    if look.aspect > _LARGEST_ASPECT:
        raise InvalidImageError(
            "wrong_aspect", f"expected sides of at most {_LARGEST_ASPECT:.0f}:1, got {look.aspect:.1f}:1"
        )
    if look.brightness < _DARKEST_MEAN:
        raise InvalidImageError(
            "too_dark", f"expected a mean brightness of at least {_DARKEST_MEAN:.0f} of 255, got {look.brightness:.1f}"
        )
    if look.contrast < _LEAST_DEVIATION:
        raise InvalidImageError(
            "blank", f"expected a contrast of at least {_LEAST_DEVIATION:.0f} of 255, got {look.contrast:.1f}"
        )
    if look.sharpness < _LEAST_SHARPNESS:
        raise InvalidImageError(
            "blurred", f"expected a sharpness of at least {_LEAST_SHARPNESS:.0f}, got {look.sharpness:.1f}"
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
