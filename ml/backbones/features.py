"""Features: the backbone's output for an image. Missing features are computed once and stored for every reader."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ml.backbones.preprocessing import to_pixels
from ml.backbones.views import VIEWS
from ml.catalog.database import Catalog
from ml.catalog.images.feature_vectors import IDENTITY, Vectors, claim_images, load_features, save_features
from ml.catalog.items.image_records import keep_images
from ml.catalog.object_store import image_key
from ml.progress import Progress

BATCH_IMAGES = 32
READERS = 8
_WAIT_SECONDS = 0.2

Compute = Callable[[np.ndarray], np.ndarray]


def ensure_features(
    catalog: Catalog,
    compute: Compute,
    backbone_id: str,
    image_size: int,
    sha256s: Sequence[str],
    on_progress: Progress | None = None,
) -> np.ndarray:
    """Return the features of unchanged images, as `ensure_views` does for views of images.

    Returns: float32 (len(sha256s), feature count).
    """
    (features,) = ensure_views(catalog, compute, backbone_id, image_size, sha256s, (IDENTITY,), on_progress)
    return np.asarray(features)


def ensure_views(
    catalog: Catalog,
    compute: Compute,
    backbone_id: str,
    image_size: int,
    sha256s: Sequence[str],
    views: Sequence[str],
    on_progress: Progress | None = None,
) -> np.ndarray:
    """Return the features of views of images, in the order of the arguments. Compute only those not stored yet.

    Several workers may ask for the same images at once: they share the computation, and each gets all features.

    Args:
        compute: the backbone: uint8 RGB (n, size, size, 3) -> float32 (n, feature count).
        backbone_id: id of that backbone.
        image_size: side of its input, pixels.
        sha256s: hashes of stored images.
        views: names in ml.backbones.views.VIEWS.
        on_progress: called with (images computed, images to compute) after each batch.
    Returns: float32 (len(views), len(sha256s), feature count).
    Raises: ImageStoreError, an image's bytes cannot be read.
    """
    with catalog.begin() as connection:
        vectors = load_features(connection, sha256s, backbone_id, views)
    missing = [sha256 for sha256 in dict.fromkeys(sha256s) if any((sha256, view) not in vectors for view in views)]
    to_compute = len(missing)
    worker = _Worker(catalog, compute, backbone_id, image_size, views)
    while missing:
        batch, missing = missing[:BATCH_IMAGES], missing[BATCH_IMAGES:]
        done = worker.fill(batch)
        vectors |= done
        # Another worker is computing these images: ask for them again after all others.
        missing += [sha256 for sha256 in batch if (sha256, views[0]) not in done]
        if not done:
            time.sleep(_WAIT_SECONDS)
        elif on_progress:
            on_progress(to_compute - len(missing), to_compute)
    return np.stack([[vectors[sha256, view] for sha256 in sha256s] for view in views])


@dataclass(frozen=True)
class _Worker:
    catalog: Catalog
    compute: Compute
    backbone_id: str
    image_size: int
    views: Sequence[str]

    def fill(self, batch: Sequence[str]) -> Vectors:
        """Compute and store all views of a batch, except the images that another worker is computing.

        Each batch is stored at once: a killed run loses only one batch, and parallel workers see each other's results.

        Returns: the features of the images of this batch that are stored now.
        """
        with claim_images(self.catalog, batch, self.backbone_id) as mine:
            with self.catalog.begin() as connection:  # another worker may have stored some meanwhile
                stored = load_features(connection, mine, self.backbone_id, self.views)
            computed = self._compute([(sha256, view) for view in self.views for sha256 in mine], stored)
            with self.catalog.begin() as connection:
                kept = set(keep_images(connection, mine))  # the others were erased meanwhile
                save_features(connection, {key: computed[key] for key in computed if key[0] in kept}, self.backbone_id)
        return stored | computed

    def _compute(self, wanted: Sequence[tuple[str, str]], stored: Vectors) -> Vectors:
        missing = [each for each in wanted if each not in stored]
        images = list(dict.fromkeys(sha256 for sha256, _ in missing))
        pixels = dict(zip(images, read_pixels(self.catalog, images, self.image_size), strict=True)) if images else {}
        computed: Vectors = {}
        for view in self.views:
            keys = [key for key in missing if key[1] == view]
            if keys:
                images_seen = VIEWS[view](np.stack([pixels[sha256] for sha256, _ in keys]))
                computed |= zip(keys, self.compute(images_seen), strict=True)
        return computed


def read_pixels(catalog: Catalog, sha256s: Sequence[str], image_size: int) -> np.ndarray:
    """Read and decode stored images in several threads: a remote store answers slowly, and Pillow releases the GIL.

    Args: sha256s, one or more.
    Returns: uint8 RGB (len(sha256s), image_size, image_size, 3).
    Raises: ImageStoreError, an image's bytes cannot be read.
    """
    with ThreadPoolExecutor(READERS) as readers:
        return np.stack(
            [*readers.map(lambda sha256: to_pixels(catalog.store.get(image_key(sha256)), image_size), sha256s)]
        )
