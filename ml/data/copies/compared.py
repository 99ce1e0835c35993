"""Cache the hashes and comparisons of photos, so that a transaction finds the results that were computed before it.

A search runs under the membership lock, so it should compute little. `compare_ahead` in `near_copies` fills the cache
before; only photos that others stored in between are compared under the lock.
"""

import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from cachetools import LRUCache

from ml.catalog.images.copy_index import IndexedHash
from ml.data.copies import copy_hashes
from ml.data.copies.copy_comparison import copy_evidence
from ml.data.copies.copy_hashes import CopyHash
from ml.data.copies.thumbnails import as_grey

_IMAGES = 512  # more than a batch has
_PAIRS = 32_768  # enough for a batch and its proposals; 6 MB at most

_evidence: LRUCache[bytes, float] = LRUCache(_PAIRS)
_lock = threading.Lock()


def evidence_of(thumbnail: bytes, others: Sequence[bytes], mirrored: bool) -> list[float]:
    """Return the evidence that a photo and each of some others are copies; see `copy_evidence`."""
    keys = [_key(thumbnail, other, mirrored) for other in others]
    with _lock:
        known = {key: _evidence[key] for key in keys if key in _evidence}
    missing = {key: other for key, other in zip(keys, others, strict=True) if key not in known}
    if missing:
        computed = copy_evidence(as_grey(thumbnail), list(map(as_grey, missing.values())), mirrored)
        known |= zip(missing, computed.tolist(), strict=True)
        with _lock:
            _evidence.update(known)
    return [known[key] for key in keys]


@lru_cache(_IMAGES)
def stored_hashes(thumbnail: bytes) -> list[IndexedHash]:
    """Return the hashes to store for a photo."""
    return list(map(_indexed, copy_hashes.stored_hashes(as_grey(thumbnail))))


@lru_cache(_IMAGES)
def sought_in_index(thumbnail: bytes) -> list[tuple[int, IndexedHash]]:
    """Return the hashes to search for in the index, each with the kind of the stored hashes to compare it with."""
    return [
        (among, _indexed(each))
        for each in copy_hashes.sought_hashes(as_grey(thumbnail))
        for among in copy_hashes.SOUGHT_AMONG[each.kind]
    ]


def alike(thumbnail: bytes, others: Iterable[bytes]) -> list[bytes]:
    """Return those of some photos that a search for a photo's copies would propose if the index held them."""
    sought = [(among, each.bits) for among, each in sought_in_index(thumbnail)]
    kinds, bits = np.array(sought, dtype=np.int64).reshape(-1, 2).T[:, :, None]
    return [other for other in others if _is_near(kinds, bits, *_stored_bits(other))]


@lru_cache(_IMAGES)
def _stored_bits(thumbnail: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the kinds and the bits of a photo's stored hashes."""
    kinds, bits = np.array([(each.kind, each.bits) for each in stored_hashes(thumbnail)], dtype=np.int64).T
    return kinds, bits


def _is_near(kinds: np.ndarray, bits: np.ndarray, found_kinds: np.ndarray, found_bits: np.ndarray) -> bool:
    differing = np.bitwise_count(bits ^ found_bits)
    return bool(((differing <= copy_hashes.MOST_BITS) & (kinds == found_kinds)).any())


def _key(thumbnail: bytes, other: bytes, mirrored: bool) -> bytes:
    return blake2b(thumbnail + other + bytes([mirrored]), digest_size=16).digest()


def _indexed(found: CopyHash) -> IndexedHash:
    return IndexedHash(found.kind, found.bits, *found.words)
