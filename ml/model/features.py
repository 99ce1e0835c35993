"""Features: what the trunk says of an image. Computed where they are missing, kept for everybody."""

from collections.abc import Callable, Sequence

import numpy as np

from ml.catalog.database import Catalog
from ml.catalog.features import load_features, save_features
from ml.catalog.object_store import image_key
from ml.model.preprocessing import to_pixels

BATCH_IMAGES = 32

Progress = Callable[[int, int], None]


def ensure_features(
    catalog: Catalog,
    compute: Callable[[np.ndarray], np.ndarray],
    trunk_id: str,
    image_size: int,
    sha256s: Sequence[str],
    on_progress: Progress | None = None,
) -> np.ndarray:
    """The features of images, in the order asked for; only what no one computed yet costs anything.

    Args:
        compute: the trunk: uint8 RGB (n, size, size, 3) -> float32 (n, 512).
        trunk_id: of that trunk.
        image_size: side of its input, pixels.
        sha256s: stored images.
        on_progress: called with (computed, to compute) after each batch.
    Returns: float32 (len(sha256s), 512).
    Raises: ImageStoreError, an image's bytes cannot be read.
    """
    with catalog.begin() as connection:
        vectors = load_features(connection, sha256s, trunk_id)
    missing = [sha256 for sha256 in dict.fromkeys(sha256s) if sha256 not in vectors]
    # Each batch is kept at once: a killed run loses one batch, and workers side by side see each other's.
    for start in range(0, len(missing), BATCH_IMAGES):
        batch = missing[start : start + BATCH_IMAGES]
        pixels = np.stack([to_pixels(catalog.store.get(image_key(sha256)), image_size) for sha256 in batch])
        computed = dict(zip(batch, compute(pixels), strict=True))
        with catalog.begin() as connection:
            save_features(connection, computed, trunk_id)
        vectors.update(computed)
        if on_progress:
            on_progress(start + len(batch), len(missing))
    return np.stack([vectors[sha256] for sha256 in sha256s])
