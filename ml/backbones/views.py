"""Views: fixed ways to look at an image. They stand in for on-line augmentation, whose features no cache could keep.

Their number was chosen on the mushroom photos, by validation accuracy against cost: docs/decisions/0053.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ml.catalog.images.feature_vectors import IDENTITY

Images = NDArray[np.uint8]


MIRRORED = "mirrored"


def _as_it_is(images: Images) -> Images:
    return images


def _mirrored(images: Images) -> Images:
    return np.ascontiguousarray(images[:, :, ::-1])


def training_views(is_mirrored: bool) -> list[str]:
    """The views that a head learns from; it is judged on images as they are."""
    return [IDENTITY, MIRRORED] if is_mirrored else [IDENTITY]


VIEWS: dict[str, Callable[[Images], Images]] = {IDENTITY: _as_it_is, MIRRORED: _mirrored}
"""By name, uint8 RGB (n, size, size, 3) -> the same."""
