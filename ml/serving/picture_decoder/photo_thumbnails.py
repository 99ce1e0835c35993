"""Small copies of photos, made when they are first seen. Memory keeps the latest ones; nothing is stored."""

import threading

from cachetools import LRUCache

from ml.data.image_viewing import Photo
from ml.deadlines import Deadline
from ml.serving.picture_decoder.decoder_process import shared_decoder

SIDE_PIXELS = 320
_MOST_BYTES = 16 * 1024 * 1024  # about a thousand thumbnails


class Thumbnails:
    """Makes and keeps thumbnails. There is one per application."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[str, bytes] = LRUCache(_MOST_BYTES, getsizeof=len)

    def read(self, photo: Photo, deadline: Deadline) -> bytes:
        """Return a thumbnail, a JPEG. Find the photo at each request: that checks who may see it.

        Raises: ImageStoreError, and the errors of `DecoderProcess.shrink`.
        """
        with self._lock:
            kept = self._kept.get(photo.sha256)
        if kept is None:
            kept = shared_decoder().shrink(photo.read(), SIDE_PIXELS, deadline)
            with self._lock:
                self._kept[photo.sha256] = kept
        return kept

    def forget(self, sha256: str) -> None:
        """Drop the thumbnail of an erased photo."""
        with self._lock:
            self._kept.pop(sha256, None)
