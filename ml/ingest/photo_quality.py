"""Check whether a photo that no person checked is good enough to learn from. Each threshold has its reason."""

from ml.catalog.images.copy_index import ImageStatistics
from ml.errors import InvalidImageError

REASONS = {
    "too_dark": "almost black",
    "blank": "one uniform surface",
    "blurred": "no sharp edge",
    "wrong_aspect": "a strip, not a photo",
    "near_duplicate": "a copy of a stored image",
    "near_evaluation": "a copy of an image of the evaluation set",
}

# Of 255. The darkest of 150 mushroom photos has 25 (docs/decisions/0062); a covered lens or a failed flash gives less
# than 10.
_DARKEST_MEAN = 12.0
# Of 255. The lowest contrast of these photos is 21; noise and JPEG on a uniform surface reach 2.
_LEAST_DEVIATION = 5.0
# Variance of the Laplacian. The least sharp of these photos has 288; blurred by two pixels, half have less than 41.
# Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.
_LEAST_SHARPNESS = 100.0
# Cameras reach 16:9, and panoramas of phones 3:1 and more: resized to the network's square, they show nothing usable.
_LARGEST_ASPECT = 3.0


def has_good_quality(found: ImageStatistics) -> bool:
    """Whether a photo passes `check_quality`."""
    try:
        check_quality(found)
    except InvalidImageError:
        return False
    return True


def check_quality(found: ImageStatistics) -> None:
    """Refuse a photo of bad quality.

    Raises: InvalidImageError, with one of REASONS.
    """
    if found.aspect > _LARGEST_ASPECT:
        raise InvalidImageError(
            "wrong_aspect", f"expected sides of at most {_LARGEST_ASPECT:.0f}:1, got {found.aspect:.1f}:1"
        )
    if found.brightness < _DARKEST_MEAN:
        raise InvalidImageError(
            "too_dark",
            f"expected a mean brightness of at least {_DARKEST_MEAN:.0f} of 255, got {found.brightness:.1f}",
        )
    if found.contrast < _LEAST_DEVIATION:
        raise InvalidImageError(
            "blank", f"expected a contrast of at least {_LEAST_DEVIATION:.0f} of 255, got {found.contrast:.1f}"
        )
    if found.sharpness < _LEAST_SHARPNESS:
        raise InvalidImageError(
            "blurred", f"expected a sharpness of at least {_LEAST_SHARPNESS:.0f}, got {found.sharpness:.1f}"
        )
