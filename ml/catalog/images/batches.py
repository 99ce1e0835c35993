"""Batches of images that sources brought: what became of each file, and what an admin makes of those that wait."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from ml.catalog.tables import image_rights, ingest_batches, ingest_files, items
from ml.errors import UnknownBatchError

Outcome = Literal["entered", "waiting", "duplicate", "rejected"]

# Reasons to reject a file that nobody has seen: it may be had another time.
NOT_HAD = ("unreachable", "refused")
_ASK_AGAIN = timedelta(hours=20)  # with an hourly run: once a day

_IS_WAITING = items.c.held_back == "waiting"


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file.

    Args:
        name, version, label: as its source states them.
        reason: one word: why it was rejected, or what it waits for.
        message: what was expected and what came, of a rejected one.
        item_id: None for a rejected one.
    """

    name: str
    version: str
    label: str | None
    outcome: Outcome
    reason: str | None = None
    message: str | None = None
    item_id: str | None = None


@dataclass(frozen=True)
class Batch:
    """A batch as an admin sees it.

    Args:
        is_quarantined: it waits because too much of it was rejected.
        reject_share: of its files; duplicates and what could not be had are left out.
        contact_sheet_key: the rejects as one picture, in the object store.
        waiting: items that wait for a certificate now.
        counts: files by outcome when it came, such as {"rejected": 3}.
    """

    id: int
    source: str
    is_quarantined: bool
    reject_share: float
    contact_sheet_key: str | None
    ingested_at: datetime
    waiting: int
    counts: dict[str, int]

    @property
    def state(self) -> str:
        """`done` once nothing of it waits."""
        return "done" if not self.waiting else "quarantined" if self.is_quarantined else "waiting"


def add_batch(
    connection: sa.Connection,
    source: str,
    files: Sequence[FileOutcome],
    is_quarantined: bool,
    reject_share: float,
) -> int:
    """Store a batch with its files. The items that they name must be there. Returns its number."""
    values = {"source": source, "is_quarantined": is_quarantined, "reject_share": reject_share}
    statement = sa.insert(ingest_batches).values(values).returning(ingest_batches.c.id)
    batch_id: int = connection.execute(statement).scalar_one()
    connection.execute(sa.insert(ingest_files), [{"batch_id": batch_id, **vars(file)} for file in files])
    return batch_id


def note_contact_sheet(connection: sa.Connection, batch_id: int, key: str) -> None:
    """Name the picture of a batch's rejects, which is in the object store."""
    connection.execute(sa.update(ingest_batches).where(ingest_batches.c.id == batch_id).values(contact_sheet_key=key))


def find_taken(connection: sa.Connection, source: str, names: Collection[str]) -> dict[tuple[str, str], bool]:
    """Name and version of those of these files that a source's batches have, and whether to ask for one again.

    What could not be had is asked for again after a day, and then whenever it has failed for twice as long: a server's
    bad night costs nothing, and what is gone for good costs little.
    """
    was_had = sa.func.coalesce(ingest_files.c.reason, "").not_in(NOT_HAD)
    first, last = (each(ingest_batches.c.ingested_at) for each in (sa.func.min, sa.func.max))
    is_due = sa.func.clock_timestamp() > last + sa.func.greatest(_ASK_AGAIN, last - first)
    query = (
        sa.select(ingest_files.c.name, ingest_files.c.version, ~sa.func.bool_or(was_had) & is_due)
        .join(ingest_batches)
        .where(ingest_batches.c.source == source, ingest_files.c.name.in_(names))
        .group_by(ingest_files.c.name, ingest_files.c.version)
    )
    return {(name, version): ask_again for name, version, ask_again in connection.execute(query)}


def add_rights(connection: sa.Connection, rights: Mapping[str, tuple[str, str]]) -> None:
    """Keep licence and holder of images, by SHA-256."""
    if rights:
        rows = [
            {"image_sha256": sha256, "licence": licence, "holder": holder}
            for sha256, (licence, holder) in rights.items()
        ]
        connection.execute(sa.insert(image_rights), rows)


def list_batches(connection: sa.Connection, limit: int) -> list[Batch]:
    """The latest batches, newest first, and before them all of which something waits."""
    waits = sa.exists().where(
        ingest_files.c.batch_id == ingest_batches.c.id, ingest_files.c.item_id == items.c.id, _IS_WAITING
    )
    query = sa.select(ingest_batches).order_by(waits.desc(), ingest_batches.c.id.desc()).limit(limit)
    return [_batch(connection, row) for row in connection.execute(query)]


def load_batch(connection: sa.Connection, batch_id: int) -> Batch:
    """One batch. Raises: UnknownBatchError."""
    row = connection.execute(sa.select(ingest_batches).where(ingest_batches.c.id == batch_id)).one_or_none()
    if row is None:
        raise UnknownBatchError(f"Expected the number of a batch, got {batch_id}. `mycoflow batch list` shows them.")
    return _batch(connection, row)


def load_files(connection: sa.Connection, batch_id: int) -> list[FileOutcome]:
    """What became of each file of a batch, in their order."""
    columns = [ingest_files.c[name] for name in FileOutcome.__dataclass_fields__]
    query = sa.select(*columns).where(ingest_files.c.batch_id == batch_id).order_by(ingest_files.c.id)
    return [FileOutcome(*row) for row in connection.execute(query)]


def find_waiting(connection: sa.Connection, batch_ids: Sequence[int]) -> list[str]:
    """Ids of the items of some batches that wait for a certificate, in the order in which they came."""
    is_of_batches = ingest_files.c.batch_id.in_(batch_ids) & (ingest_files.c.item_id == items.c.id)
    query = sa.select(items.c.id).where(_IS_WAITING, sa.exists().where(is_of_batches))
    return list(connection.scalars(query.order_by(items.c.received_at, items.c.id)))


def count_waiting(connection: sa.Connection) -> int:
    """Items that wait for a certificate."""
    found: int = connection.execute(sa.select(sa.func.count()).select_from(items).where(_IS_WAITING)).scalar_one()
    return found


def count_quarantined(connection: sa.Connection) -> int:
    """Quarantined batches that nobody has decided: items of theirs wait."""
    query = (
        sa.select(sa.func.count(sa.distinct(ingest_batches.c.id)))
        .select_from(ingest_batches.join(ingest_files).join(items))
        .where(ingest_batches.c.is_quarantined, _IS_WAITING)
    )
    found: int = connection.execute(query).scalar_one()
    return found


def _batch(connection: sa.Connection, row: sa.Row[tuple[object, ...]]) -> Batch:
    by_outcome = (
        sa.select(ingest_files.c.outcome, sa.func.count())
        .where(ingest_files.c.batch_id == row.id)
        .group_by(ingest_files.c.outcome)
        .order_by(ingest_files.c.outcome)
    )
    waiting = (
        sa.select(sa.func.count(sa.distinct(items.c.id)))
        .join(ingest_files, ingest_files.c.item_id == items.c.id)
        .where(ingest_files.c.batch_id == row.id, _IS_WAITING)
    )
    counts: dict[str, int] = dict(connection.execute(by_outcome).tuples().all())
    return Batch(**row._mapping, waiting=connection.execute(waiting).scalar_one(), counts=counts)
