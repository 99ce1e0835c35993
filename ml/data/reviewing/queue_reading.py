"""Read the review queues, for reviewers."""

from dataclasses import dataclass

from ml.catalog.database import Catalog
from ml.catalog.images.batches import Batch, FileOutcome, list_batches, load_batch, load_rejects
from ml.catalog.reviews.review_queues import (
    Entry,
    Queue,
    QueueFilter,
    count_by_class,
    count_queues,
    query_queue,
)
from ml.data.reviewing.deciding import read_seen

__all__ = ["Entry", "Queue", "QueueFilter", "read_batches", "read_counts", "read_queue", "read_rejects"]

_BATCHES = 100
_REJECTS = 500


@dataclass(frozen=True)
class Shown:
    """An item of a queue. Args: seen, its state, which a decision about it names."""

    entry: Entry
    seen: str


@dataclass(frozen=True)
class ShownPage:
    """A page of a queue.

    Args:
        counts: class -> number of items of the whole queue, without the filter by class.
        next_cursor: cursor of the next page; None on the last page.
    """

    shown: list[Shown]
    counts: dict[str | None, int]
    next_cursor: str | None


def read_queue(catalog: Catalog, wanted: QueueFilter, limit: int, cursor: str | None) -> ShownPage:
    """Return one page of a queue. Args: limit, cursor, as in `query_queue`.

    Raises: CursorError, DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        page = query_queue(connection, wanted, limit, cursor)
        seen = read_seen(connection, [each.item_id for each in page.entries])
        counts = count_by_class(connection, QueueFilter(wanted.queue, batch_id=wanted.batch_id))
    return ShownPage([Shown(each, seen[each.item_id]) for each in page.entries], counts, page.next_cursor)


def read_counts(catalog: Catalog) -> dict[Queue, int]:
    """Return the number of items in each queue.

    Raises: DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        return count_queues(connection)


def read_batches(catalog: Catalog) -> list[Batch]:
    """Return the batches, those with waiting items first.

    Raises: DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        return list_batches(connection, _BATCHES)


def read_source_batch(catalog: Catalog, batch_id: int) -> Batch:
    """Return one batch.

    Raises: UnknownBatchError, DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        return load_batch(connection, batch_id)


def read_rejects(catalog: Catalog, batch_id: int) -> list[FileOutcome]:
    """Return the rejected files of a batch with their reasons, up to 500.

    Raises: UnknownBatchError, DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        load_batch(connection, batch_id)
        return load_rejects(connection, batch_id, _REJECTS)
