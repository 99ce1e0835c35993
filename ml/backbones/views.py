"""Views: deterministic augmentations of an image. Features of random augmentations could not be cached.

Which views help, and what they cost, was measured: docs/decisions/0053.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.catalog.images.feature_vectors import IDENTITY

Images = NDArray[np.uint8]

MIRRORED = "mirrored"
ROTATED = ("rotated_left", "rotated_right")
ZOOMED = "zoomed"
_DEGREES = 10
_ZOOMED_SHARE = 0.85  # of each side


def _as_it_is(images: Images) -> Images:
    return images


def _mirrored(images: Images) -> Images:
    return np.ascontiguousarray(images[:, :, ::-1])


def _rotated(degrees: float, images: Images) -> Images:
    """Turn images to the left, and enlarge them as far as no corner is empty."""
    size = images.shape[1]
    angle = np.radians(abs(degrees))
    share = 1 / (np.cos(angle) + np.sin(angle))
    turned = [_crop(Image.fromarray(each).rotate(degrees, Image.Resampling.BILINEAR), share, size) for each in images]
    return np.stack(turned)


def _zoomed(images: Images) -> Images:
    size = images.shape[1]
    return np.stack([_crop(Image.fromarray(each), _ZOOMED_SHARE, size) for each in images])


def _crop(image: Image.Image, share: float, size: int) -> Images:
    """Return the middle of a square image, enlarged to the whole size."""
    margin = size * (1 - share) / 2
    box = (margin, margin, size - margin, size - margin)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


def training_views(is_mirrored: bool, is_rotated: bool, is_zoomed: bool) -> list[str]:
    """Return the views that a head is trained on. Evaluation uses only unchanged images."""
    return [IDENTITY, *[MIRRORED] * is_mirrored, *ROTATED * is_rotated, *[ZOOMED] * is_zoomed]


VIEWS: dict[str, Callable[[Images], Images]] = {
    IDENTITY: _as_it_is,
    MIRRORED: _mirrored,
    ROTATED[0]: partial(_rotated, _DEGREES),
    ROTATED[1]: partial(_rotated, -_DEGREES),
    ZOOMED: _zoomed,
}
"""Name -> function of images, uint8 RGB (n, size, size, 3), to images of the same shape and type."""
