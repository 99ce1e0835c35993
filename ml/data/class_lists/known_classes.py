"""The classes that people may name: those of items, and those of the models that answer now and next."""

import math
import threading
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from cachetools import LRUCache

from ml.catalog.database import Catalog
from ml.catalog.items.item_classes import list_item_classes, list_newest_classes, list_reviewed_classes
from ml.data.class_lists.class_search import ClassSearch

_KEPT_SECONDS = 60.0
_FRESH_SECONDS = 5.0


class KnownClasses:
    """Keeps the names for a minute, because each letter that somebody types asks for them. There is one per process.

    Args: clock, monotonic, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: LRUCache[tuple[bool, tuple[str, ...]], tuple[float, ClassSearch]] = LRUCache(4)
        self._lock = threading.Lock()

    def read(
        self, catalog: Catalog, served: Sequence[str], with_stated: bool = False, is_missing: bool = False
    ) -> ClassSearch:
        """Return the names that feedback may give.

        Args:
            served: classes of the model that answers.
            with_stated: also the names that only sources have given, and all of the review queues, for reviewers.
            is_missing: a name was not found, so names that are older than some seconds do not do.
        Raises: DatabaseUnavailableError.
        """
        key = (with_stated, tuple(served))
        with self._lock:
            read_at, known = self._kept.get(key, (-math.inf, None))
        if known is None or self._clock() - read_at > (_FRESH_SECONDS if is_missing else _KEPT_SECONDS):
            read_at = self._clock()
            with catalog.begin() as connection:
                known = ClassSearch(_list(connection, served, with_stated))
            with self._lock:
                self._kept[key] = (read_at, known)
        return known


def _list(connection: sa.Connection, served: Sequence[str], with_stated: bool) -> set[str]:
    of_items = list_item_classes(connection)
    names = {*served, *list_newest_classes(connection), *(each for each in of_items if with_stated or of_items[each])}
    return names.union(list_reviewed_classes(connection)) if with_stated else names
