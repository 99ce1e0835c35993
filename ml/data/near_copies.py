"""Copies that are not the same file: resized, recompressed, lightly retouched."""

import logging

import numpy as np
from numpy.typing import NDArray

from ml.catalog.database import Catalog
from ml.catalog.images.perceptual_hashes import find_unhashed, load_hashes, save_hashes
from ml.catalog.object_store import ObjectStore, image_key
from ml.data.image_statistics import look_at
from ml.errors import ImageStoreError, InvalidImageError

_AT_ONCE = 200
# Of 64. Copies of half the size or with a border of 2 % cut off stay within it; of 150 mushroom photos no two come
# nearer than 14 (docs/decisions/0062).
_NEAR_BITS = 8

logger = logging.getLogger(__name__)


class KnownLooks:
    """The perceptual hashes of all images that belong somewhere.

    Args: known, of each image its SHA-256, its 64 bits, and whether it is in the evaluation set.
    """

    def __init__(self, known: list[tuple[str, int, bool]]) -> None:
        self._sha256s = [sha256 for sha256, _, _ in known]
        self._is_evaluated = [is_evaluated for _, _, is_evaluated in known]
        self._hashes: NDArray[np.uint64] = np.array([phash for _, phash, _ in known], dtype=np.uint64)

    def check(self, phash: int) -> None:
        """Refuse what looks like an image that is known.

        Raises: InvalidImageError, near_evaluation before near_duplicate.
        """
        distances = np.bitwise_count(self._hashes ^ np.uint64(phash))
        near = np.flatnonzero(distances <= _NEAR_BITS).tolist()
        if not near:
            return
        nearest = min(near, key=lambda index: (not self._is_evaluated[index], distances[index]))
        reason = "near_evaluation" if self._is_evaluated[nearest] else "near_duplicate"
        raise InvalidImageError(
            reason,
            f"expected more than {_NEAR_BITS} bits between perceptual hashes, got {distances[nearest]} to the "
            f"{'evaluation image' if self._is_evaluated[nearest] else 'image'} {self._sha256s[nearest]}",
        )

    def add(self, sha256: str, phash: int) -> None:
        """Know one more image."""
        self._sha256s.append(sha256)
        self._is_evaluated.append(False)
        self._hashes = np.append(self._hashes, np.uint64(phash))


def open_known_looks(catalog: Catalog) -> KnownLooks:
    """Read all perceptual hashes, and first compute those that are missing, of images that people ingested.

    An image whose bytes are gone is left out: no copy of it is noticed until they are back.

    Raises: ImageStoreError, the store cannot be read.
    """
    gone: list[str] = []
    last = ""
    while True:
        with catalog.begin() as connection:
            unhashed = find_unhashed(connection, last, _AT_ONCE)
            if not unhashed:
                break
        hashes = {sha256: _hash(catalog.store, sha256) for sha256 in unhashed}
        with catalog.begin() as connection:
            save_hashes(connection, {sha256: phash for sha256, phash in hashes.items() if phash is not None})
        gone += [sha256 for sha256, phash in hashes.items() if phash is None]
        last = unhashed[-1]
    if gone:
        logger.warning("%d images are not in the image store, so copies pass for new. First: %s", len(gone), gone[0])
    with catalog.begin() as connection:
        return KnownLooks(load_hashes(connection))


def _hash(store: ObjectStore, sha256: str) -> int | None:
    """The perceptual hash of a stored image; None where its bytes are gone."""
    try:
        content = store.get(image_key(sha256))
    except ImageStoreError:
        if store.exists(image_key(sha256)):
            raise
        return None
    return look_at(content).phash
