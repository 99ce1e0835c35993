"""Batches of images from sources, the outcome of each file, and the items that wait for an admin's decision."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from ml.catalog.tables import image_rights, ingest_batches, ingest_files, items
from ml.errors import UnknownBatchError

Outcome = Literal["entered", "waiting", "duplicate", "rejected"]

# The reasons of rejected files that could not be downloaded. A later try may succeed.
DOWNLOAD_FAILURES = ("unreachable", "refused")
_RETRY_AFTER = timedelta(hours=20)  # an hourly run then retries about once a day

_IS_WAITING = items.c.held_back == "waiting"


@dataclass(frozen=True)
class FileOutcome:
    """The outcome of one file of a batch.

    Args:
        name, version, label: from the source.
        reason: one word that says why the file was rejected or why its item waits.
        message: for a rejected file, what was expected and what came.
        item_id: None for a rejected file.
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
    """A batch, for display to an admin.

    Args:
        is_quarantined: all its items were held back, because too many of its files were rejected.
        reject_share: rejected share of its files, without duplicates and failed downloads, 0 to 1.
        contact_sheet_key: key in the object store of one picture with all rejected images; None without any.
        waiting: number of items that wait for certification now.
        counts: outcome at ingestion -> files, such as {"rejected": 3}.
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
        """Return `done`, or `quarantined` or `waiting` while items of the batch wait."""
        return "done" if not self.waiting else "quarantined" if self.is_quarantined else "waiting"


_NEWEST_FIRST = ingest_batches.c.id.desc()
_FILES = sa.select(*(ingest_files.c[name] for name in FileOutcome.__dataclass_fields__))


def add_batch(
    connection: sa.Connection,
    source: str,
    files: Sequence[FileOutcome],
    is_quarantined: bool,
    reject_share: float,
) -> int:
    """Store a batch with its files. The items of the files must be stored already.

    Returns: the batch's id.
    """
    values = {"source": source, "is_quarantined": is_quarantined, "reject_share": reject_share}
    statement = sa.insert(ingest_batches).values(values).returning(ingest_batches.c.id)
    batch_id: int = connection.execute(statement).scalar_one()
    connection.execute(sa.insert(ingest_files), [{"batch_id": batch_id, **vars(file)} for file in files])
    return batch_id


def note_contact_sheet(connection: sa.Connection, batch_id: int, key: str) -> None:
    """Record the object store's key of a batch's contact sheet."""
    connection.execute(sa.update(ingest_batches).where(ingest_batches.c.id == batch_id).values(contact_sheet_key=key))


def find_known_files(connection: sa.Connection, source: str, names: Collection[str]) -> dict[tuple[str, str], bool]:
    """Find the files of a source that are in a batch already, and tell which of them to download again.

    A failed download is due again after a day, and then whenever the time since the first failure has doubled. So a
    short outage of a server loses no files, and a file that is gone for good causes few requests.

    Returns: (name, version) -> whether the file is due again.
    """
    is_downloaded = sa.func.coalesce(ingest_files.c.reason, "").not_in(DOWNLOAD_FAILURES)
    first, last = (each(ingest_batches.c.ingested_at) for each in (sa.func.min, sa.func.max))
    is_due = sa.func.clock_timestamp() > last + sa.func.greatest(_RETRY_AFTER, last - first)
    query = (
        sa.select(ingest_files.c.name, ingest_files.c.version, ~sa.func.bool_or(is_downloaded) & is_due)
        .join(ingest_batches)
        .where(ingest_batches.c.source == source, ingest_files.c.name.in_(names))
        .group_by(ingest_files.c.name, ingest_files.c.version)
    )
    return {(name, version): is_due_again for name, version, is_due_again in connection.execute(query)}


def add_rights(connection: sa.Connection, rights: Mapping[str, tuple[str, str]]) -> None:
    """Store the rights of images.

    Args: rights, SHA-256 of an image -> (licence, holder).
    """
    if rights:
        rows = [
            {"image_sha256": sha256, "licence": licence, "holder": holder}
            for sha256, (licence, holder) in rights.items()
        ]
        connection.execute(sa.insert(image_rights), rows)


def list_batches(connection: sa.Connection, limit: int) -> list[Batch]:
    """Return the latest batches: first those with waiting items, then the others, each newest first."""
    waits = sa.exists().where(
        ingest_files.c.batch_id == ingest_batches.c.id, ingest_files.c.item_id == items.c.id, _IS_WAITING
    )
    return _read_batches(connection, sa.select(ingest_batches).order_by(waits.desc(), _NEWEST_FIRST).limit(limit))


def load_batch(connection: sa.Connection, batch_id: int) -> Batch:
    """Return one batch.

    Raises: UnknownBatchError, no batch has this id.
    """
    found = _read_batches(connection, sa.select(ingest_batches).where(ingest_batches.c.id == batch_id))
    if not found:
        raise UnknownBatchError(f"Expected the number of a batch, got {batch_id}. `mycoflow batch list` shows them.")
    return found[0]


def load_files(connection: sa.Connection, batch_id: int) -> list[FileOutcome]:
    """Return the outcome of each file of a batch, in the order of the files."""
    query = _FILES.where(ingest_files.c.batch_id == batch_id).order_by(ingest_files.c.id)
    return [FileOutcome(*row) for row in connection.execute(query)]


def load_rejects(connection: sa.Connection, batch_id: int, limit: int) -> list[FileOutcome]:
    """Return the first rejected files of a batch."""
    query = _FILES.where(ingest_files.c.batch_id == batch_id, ingest_files.c.outcome == "rejected")
    return [FileOutcome(*row) for row in connection.execute(query.order_by(ingest_files.c.id).limit(limit))]


def find_waiting(connection: sa.Connection, batch_ids: Sequence[int]) -> list[str]:
    """Return the ids of the items of some batches that wait for certification, in the order of arrival."""
    is_of_batches = ingest_files.c.batch_id.in_(batch_ids) & (ingest_files.c.item_id == items.c.id)
    query = sa.select(items.c.id).where(_IS_WAITING, sa.exists().where(is_of_batches))
    return list(connection.scalars(query.order_by(items.c.received_at, items.c.id)))


def find_brought(connection: sa.Connection, batch_ids: Sequence[int]) -> list[str]:
    """Return the ids of the items that some batches brought and that are not out for good, in the order of arrival.

    Certified items are among them. An item that a person brought too, after the batch, is not.
    """
    is_of_source = (ingest_files.c.outcome == "entered") | (items.c.label_origin != "curated")
    is_of_batches = ingest_files.c.batch_id.in_(batch_ids) & (ingest_files.c.item_id == items.c.id)
    is_brought = sa.exists().where(is_of_batches, ingest_files.c.outcome.in_(("waiting", "entered")), is_of_source)
    is_out = sa.func.coalesce(items.c.held_back, "").in_(("excluded", "superseded", "erased"))
    query = sa.select(items.c.id).where(is_brought, ~is_out)
    return list(connection.scalars(query.order_by(items.c.received_at, items.c.id)))


def count_waiting(connection: sa.Connection) -> int:
    """Count the items that wait for certification."""
    found: int = connection.execute(sa.select(sa.func.count()).select_from(items).where(_IS_WAITING)).scalar_one()
    return found


def count_quarantined(connection: sa.Connection) -> int:
    """Count the quarantined batches with items that still wait for a decision."""
    query = (
        sa.select(sa.func.count(sa.distinct(ingest_batches.c.id)))
        .select_from(ingest_batches.join(ingest_files).join(items))
        .where(ingest_batches.c.is_quarantined, _IS_WAITING)
    )
    found: int = connection.execute(query).scalar_one()
    return found


def _read_batches(connection: sa.Connection, query: sa.Select[tuple[object, ...]]) -> list[Batch]:
    rows = connection.execute(query).all()
    is_of_them = ingest_files.c.batch_id.in_([row.id for row in rows])
    count = sa.func.count()
    by_outcome = (
        sa.select(ingest_files.c.batch_id, ingest_files.c.outcome, count)
        .where(is_of_them)
        .group_by(ingest_files.c.batch_id, ingest_files.c.outcome)
        .order_by(ingest_files.c.outcome)
    )
    waiting = (
        sa.select(ingest_files.c.batch_id, sa.func.count(sa.distinct(items.c.id)))
        .join(items, items.c.id == ingest_files.c.item_id)
        .where(is_of_them, _IS_WAITING)
        .group_by(ingest_files.c.batch_id)
    )
    counts: dict[int, dict[str, int]] = {row.id: {} for row in rows}
    for batch_id, outcome, number in connection.execute(by_outcome):
        counts[batch_id][outcome] = number
    waits: dict[int, int] = dict(connection.execute(waiting).tuples().all())
    return [Batch(**row._mapping, waiting=waits.get(row.id, 0), counts=counts[row.id]) for row in rows]
