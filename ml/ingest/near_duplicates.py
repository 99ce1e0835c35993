"""Copies that are not the same file: resized, recompressed, lightly retouched."""

import numpy as np
from numpy.typing import NDArray

from ml.catalog.database import Catalog
from ml.catalog.object_store import image_key
from ml.catalog.perceptual_hashes import find_unhashed, load_hashes, save_hashes
from ml.errors import InvalidImageError
from ml.ingest.quality import look_at

_AT_ONCE = 200
# Of 64. Copies of half the size or with a border of 2 % cut off stay within it; of 150 mushroom photos no two come
# nearer than 14 (docs/decisions/0062).
_NEAR_BITS = 8


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
    """Read all perceptual hashes, and first compute those that are missing, of images that people ingested."""
    while True:
        with catalog.begin() as connection:
            missing = find_unhashed(connection, _AT_ONCE)
            if not missing:
                return KnownLooks(load_hashes(connection))
        hashes = {sha256: look_at(catalog.store.get(image_key(sha256))).phash for sha256 in missing}
        with catalog.begin() as connection:
            save_hashes(connection, hashes)
