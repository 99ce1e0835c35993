"""The classes that people may name: those of items, and those of the models that answer now and next."""

import threading
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from cachetools import TTLCache

from ml.catalog.database import Catalog
from ml.catalog.items.item_classes import list_item_classes, list_newest_classes, list_reviewed_classes
from ml.data.class_lists.class_search import ClassSearch

_KEPT_SECONDS = 60.0


class KnownClasses:
    """Keeps the names for a minute, because each letter that somebody types asks for them. There is one per process.

    Args: clock, monotonic, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept: TTLCache[tuple[bool, tuple[str, ...]], ClassSearch] = TTLCache(4, _KEPT_SECONDS, timer=clock)
        self._lock = threading.Lock()

    def read(self, catalog: Catalog, served: Sequence[str], with_stated: bool = False) -> ClassSearch:
        """Return the names that feedback may give.

        Args:
            served: classes of the model that answers.
            with_stated: also the names that only sources have given, and all of the review queues, for reviewers.
        Raises: DatabaseUnavailableError.
        """
        key = (with_stated, tuple(served))
        with self._lock:
            known = self._kept.get(key)
        if known is None:
            with catalog.begin() as connection:
                known = ClassSearch(_list(connection, served, with_stated))
            with self._lock:
                self._kept[key] = known
        return known

    def read_again(self, catalog: Catalog, served: Sequence[str], with_stated: bool = False) -> ClassSearch:
        """Return the names as they are now: somebody may have added one since.

        Args, Raises: as `read`.
        """
        with self._lock:
            self._kept.clear()
        return self.read(catalog, served, with_stated)


def _list(connection: sa.Connection, served: Sequence[str], with_stated: bool) -> set[str]:
    of_items = list_item_classes(connection)
    names = {*served, *list_newest_classes(connection), *(each for each in of_items if with_stated or of_items[each])}
    return names.union(list_reviewed_classes(connection)) if with_stated else names
