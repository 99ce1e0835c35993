"""Views: deterministic augmentations of an image. Features of random augmentations could not be cached.

Their number was chosen on the mushroom photos, by validation accuracy and cost: docs/decisions/0053.
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
    """Return the views that a head is trained on. Evaluation uses only unchanged images."""
    return [IDENTITY, MIRRORED] if is_mirrored else [IDENTITY]


VIEWS: dict[str, Callable[[Images], Images]] = {IDENTITY: _as_it_is, MIRRORED: _mirrored}
"""Name -> function of images, uint8 RGB (n, size, size, 3), to images of the same shape and type."""
