"""Small copies of photos, made when they are first seen. Memory keeps the latest ones; nothing is stored."""

import threading
from collections.abc import Callable

from cachetools import LRUCache

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.database import Catalog
from ml.data.image_viewing import Photo, demand_visible, read_known_photo, read_photo
from ml.deadlines import Deadline
from ml.serving.picture_decoder.decoder_process import shared_decoder

SIDE_PIXELS = 320
_MOST_BYTES = 16 * 1024 * 1024  # about a thousand thumbnails


class Thumbnails:
    """Makes and keeps thumbnails. There is one per application."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[str, bytes] = LRUCache(_MOST_BYTES, getsizeof=len)

    def read(self, catalog: Catalog, account: Account, sha256: str, deadline: Deadline) -> bytes:
        """Return a thumbnail, a JPEG, of a photo that the account may see.

        The account's right is checked each time, also for a thumbnail in memory.

        Raises: the errors of `ml.data.image_viewing.read_photo` and `DecoderProcess.shrink`.
        """
        with catalog.begin() as connection:
            demand_visible(connection, account, sha256)
        return self._keep(sha256, lambda: read_photo(catalog, account, sha256), deadline)

    def read_known(self, catalog: Catalog, sha256: str, deadline: Deadline) -> bytes:
        """Return a thumbnail of a photo that answers are compared with, which every account may see.

        Raises: the errors of `ml.data.image_viewing.read_known_photo` and `DecoderProcess.shrink`.
        """
        photo = read_known_photo(catalog, sha256)
        return self._keep(sha256, lambda: photo, deadline)

    def forget(self, sha256: str) -> None:
        """Drop the thumbnail of an erased photo."""
        with self._lock:
            self._kept.pop(sha256, None)

    def _keep(self, sha256: str, read: Callable[[], Photo], deadline: Deadline) -> bytes:
        with self._lock:
            kept = self._kept.get(sha256)
        if kept is None:
            kept = shared_decoder().shrink(read().content, SIDE_PIXELS, deadline)
            with self._lock:
                self._kept[sha256] = kept
        return kept
