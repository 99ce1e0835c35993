"""The batches of an account: how far they are, cancelling and deleting them. An admin sees and ends all batches."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.database import Catalog
from ml.catalog.logs import prediction_batches as stored_batches
from ml.catalog.tables import batch_photos, prediction_batches
from ml.errors import UnknownBatchError

BatchState = Literal["working", "finished", "cancelled"]


@dataclass(frozen=True)
class BatchSummary:
    """A batch and its numbers of photos, by state."""

    id: int
    name: str
    has_addresses: bool
    created_at: datetime
    finished_at: datetime | None
    is_cancelled: bool
    total: int
    waiting: int
    named: int
    failed: int
    skipped: int

    @property
    def state(self) -> BatchState:
        """Return what the batch does: a cancelled batch does nothing more, even before its ZIP is deleted."""
        if self.is_cancelled:
            return "cancelled"
        return "working" if self.waiting else "finished"

    @property
    def done(self) -> int:
        """Return how many photos do not wait any more."""
        return self.total - self.waiting


def list_batches(catalog: Catalog, account: Account, limit: int) -> list[BatchSummary]:
    """Return the latest batches of an account, newest first.

    Raises: DatabaseUnavailableError.
    """
    query = _summaries().where(prediction_batches.c.account_id == account.id)
    with catalog.begin() as connection:
        rows = connection.execute(query.order_by(prediction_batches.c.id.desc()).limit(limit)).all()
    return [BatchSummary(*row) for row in rows]


def read_batch(catalog: Catalog, account: Account, batch_id: int) -> BatchSummary:
    """Return a batch that an account may see: its own; an admin sees all.

    Raises: UnknownBatchError, DatabaseUnavailableError.
    """
    may_see = sa.true() if account.role == "admin" else prediction_batches.c.account_id == account.id
    with catalog.begin() as connection:
        row = connection.execute(_summaries().where(prediction_batches.c.id == batch_id, may_see)).one_or_none()
    if row is None:
        raise UnknownBatchError("Expected the number of a batch of yours, got another. GET /prediction-batches.")
    return BatchSummary(*row)


def cancel_batch(catalog: Catalog, account: Account, batch_id: int) -> BatchSummary:
    """Skip the photos that still wait in a batch that an account may see. Answers that it has stay.

    Returns: the batch afterwards.
    Raises: UnknownBatchError, DatabaseUnavailableError.
    """
    read_batch(catalog, account, batch_id)
    with catalog.begin() as connection:
        stored_batches.skip_waiting(connection, batch_id)
    return read_batch(catalog, account, batch_id)


def delete_batch(catalog: Catalog, account: Account, batch_id: int) -> None:
    """Delete a batch that an account may see, and its ZIP. Its photos stay with their answers.

    Raises: UnknownBatchError, ImageStoreError, DatabaseUnavailableError.
    """
    read_batch(catalog, account, batch_id)
    stored_batches.delete_batch(catalog, batch_id)


def _summaries() -> sa.Select[Any]:
    batches, photos = prediction_batches, batch_photos
    has_addresses = sa.func.bool_and(photos.c.entry.is_(None))
    counts = [sa.func.count().filter(photos.c.state == state) for state in ("waiting", "named", "failed", "skipped")]
    columns = (batches.c.created_at, batches.c.finished_at, batches.c.is_cancelled, sa.func.count(), *counts)
    query = sa.select(batches.c.id, batches.c.name, has_addresses, *columns)
    joined = batches.join(photos, photos.c.batch_id == batches.c.id)
    return query.select_from(joined).where(batches.c.is_ready).group_by(batches.c.id)
