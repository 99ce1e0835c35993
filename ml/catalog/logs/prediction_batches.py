"""Prediction batches: photos that an account sent at once, in a ZIP or as addresses, and what became of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.object_store import archive_key
from ml.catalog.tables import accounts, batch_photos, prediction_batches

# It takes minutes to put the largest ZIP into the store. After this time, the process that did it has ended.
ARRIVING = timedelta(hours=1)


@dataclass(frozen=True)
class NewPhoto:
    """A photo of a new batch. Args: name, in the ZIP, or its address; entry, its place in the ZIP."""

    name: str
    entry: int | None = None


class OpenBatch(NamedTuple):
    """A batch with work to do."""

    id: int
    account_id: int
    has_archive: bool


class NextPhoto(NamedTuple):
    """A photo whose turn it is. Args: tries, with this one."""

    id: int
    name: str
    entry: int | None
    tries: int


def count_open(connection: sa.Connection, account_id: int) -> int:
    """Count the batches of an account that are not finished, without those whose upload was interrupted."""
    is_arriving = prediction_batches.c.created_at > sa.func.now() - ARRIVING
    is_open = prediction_batches.c.finished_at.is_(None) & ~prediction_batches.c.is_cancelled
    is_open &= prediction_batches.c.is_ready | is_arriving
    query = sa.select(sa.func.count()).where(prediction_batches.c.account_id == account_id, is_open)
    count: int = connection.execute(query).scalar_one()
    return count


def add_prediction_batch(
    connection: sa.Connection, account_id: int, name: str, photos: Sequence[NewPhoto], *, has_archive: bool
) -> int:
    """Store a batch, and return its id. A batch with a ZIP is not ready before `start_batch`."""
    values = {"account_id": account_id, "name": name, "is_ready": not has_archive, "has_archive": has_archive}
    batch = sa.insert(prediction_batches).values(values).returning(prediction_batches.c.id)
    batch_id: int = connection.execute(batch).scalar_one()
    rows = [
        {"batch_id": batch_id, "number": number, "name": photo.name, "entry": photo.entry}
        for number, photo in enumerate(photos, start=1)
    ]
    connection.execute(sa.insert(batch_photos), rows)
    return batch_id


def start_batch(connection: sa.Connection, batch_id: int) -> bool:
    """Let a batch begin: its ZIP is stored. Return False if the batch was deleted meanwhile."""
    change = sa.update(prediction_batches).where(prediction_batches.c.id == batch_id).values(is_ready=True)
    return bool(connection.execute(change).rowcount)


def list_open_batches(connection: sa.Connection) -> list[OpenBatch]:
    """Return the batches with work to do, the one that has waited longest for its turn first.

    Batches of disabled accounts wait until their account is enabled again.
    """
    batches = prediction_batches
    query = sa.select(batches.c.id, batches.c.account_id, batches.c.has_archive).join(accounts)
    is_due = batches.c.is_ready & batches.c.finished_at.is_(None) & accounts.c.disabled_at.is_(None)
    order = (batches.c.served_at.nulls_first(), batches.c.id)
    return [OpenBatch(*row) for row in connection.execute(query.where(is_due).order_by(*order))]


def begin_turn(connection: sa.Connection, batch_id: int) -> None:
    """Record that a batch has its turn now: it is the last of all for the next one."""
    change = sa.update(prediction_batches).where(prediction_batches.c.id == batch_id)
    connection.execute(change.values(served_at=sa.func.clock_timestamp()))


def take_next_photo(connection: sa.Connection, batch_id: int) -> NextPhoto | None:
    """Return the next photo that waits, and count the try; None if none waits, or the account may not ask now.

    The try is counted before the photo is looked at, so that a photo that ends the process does so only a few times.
    """
    is_enabled = sa.exists().where(
        prediction_batches.c.id == batch_id,
        accounts.c.id == prediction_batches.c.account_id,
        accounts.c.disabled_at.is_(None),
    )
    waiting = (batch_photos.c.batch_id == batch_id) & (batch_photos.c.state == "waiting")
    query = sa.select(batch_photos.c.id).where(waiting, is_enabled).order_by(batch_photos.c.number).limit(1)
    change = (
        sa.update(batch_photos)
        .where(batch_photos.c.id == query.with_for_update(skip_locked=True).scalar_subquery())
        .values(tries=batch_photos.c.tries + 1)
        .returning(batch_photos.c.id, batch_photos.c.name, batch_photos.c.entry, batch_photos.c.tries)
    )
    row = connection.execute(change).one_or_none()
    return None if row is None else NextPhoto(*row)


def forgive_try(connection: sa.Connection, photo_id: int) -> None:
    """Do not count the last try of a photo: it was not the photo's fault that it failed."""
    change = sa.update(batch_photos).where(batch_photos.c.id == photo_id, batch_photos.c.tries > 0)
    connection.execute(change.values(tries=batch_photos.c.tries - 1))


def end_photo(
    connection: sa.Connection, photo_id: int, *, prediction_id: int | None = None, problem: str | None = None
) -> None:
    """Store what became of a photo, unless it does not wait any more, because somebody cancelled the batch."""
    state = "named" if problem is None else "failed"
    waiting = (batch_photos.c.id == photo_id) & (batch_photos.c.state == "waiting")
    values = {"state": state, "prediction_id": prediction_id, "problem": problem}
    connection.execute(sa.update(batch_photos).where(waiting).values(done_at=sa.func.clock_timestamp(), **values))


def skip_waiting(connection: sa.Connection, batch_id: int) -> None:
    """Cancel a batch: photos that wait are skipped. Answers that it has stay."""
    waiting = (batch_photos.c.batch_id == batch_id) & (batch_photos.c.state == "waiting")
    skipped = connection.execute(sa.update(batch_photos).where(waiting).values(state="skipped"))
    if skipped.rowcount:
        change = sa.update(prediction_batches).where(prediction_batches.c.id == batch_id)
        connection.execute(change.values(is_cancelled=True))


def finish_batch(catalog: Catalog, batch_id: int) -> None:
    """Finish a batch if no photo waits: delete its ZIP first, so that a crash in between leaves the batch open.

    Raises: ImageStoreError, DatabaseUnavailableError.
    """
    is_waiting = sa.exists().where(batch_photos.c.batch_id == batch_id, batch_photos.c.state == "waiting")
    with catalog.begin() as connection:
        if connection.execute(sa.select(is_waiting)).scalar_one():
            return
    catalog.store.delete(archive_key(batch_id))
    change = sa.update(prediction_batches).where(prediction_batches.c.id == batch_id)
    with catalog.begin() as connection:
        connection.execute(change.values(finished_at=sa.func.clock_timestamp(), has_archive=False))


def delete_batch(catalog: Catalog, batch_id: int) -> None:
    """Delete a batch: first its ZIP, then its rows. The photos that it has answers for stay, with their answers.

    Raises: ImageStoreError, DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        skip_waiting(connection, batch_id)
    catalog.store.delete(archive_key(batch_id))
    with catalog.begin() as connection:
        connection.execute(sa.delete(prediction_batches).where(prediction_batches.c.id == batch_id))


def delete_batches_of(catalog: Catalog, account_id: int) -> None:
    """Delete all batches of an account, as `delete_batch` does.

    Raises: ImageStoreError, DatabaseUnavailableError.
    """
    query = sa.select(prediction_batches.c.id).where(prediction_batches.c.account_id == account_id)
    with catalog.begin() as connection:
        batch_ids = connection.scalars(query).all()
    for batch_id in batch_ids:
        delete_batch(catalog, batch_id)


def forget_photo_names(connection: sa.Connection, prediction_ids: sa.Select[tuple[int]]) -> None:
    """Forget the names and answers of the photos of some predictions, because the photos are erased."""
    change = sa.update(batch_photos).where(batch_photos.c.prediction_id.in_(prediction_ids))
    connection.execute(change.values(state="erased", name="", prediction_id=None))
