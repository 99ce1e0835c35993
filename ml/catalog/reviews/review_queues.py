"""The review queues: pages of items that wait for a person, and how many wait."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from ml.catalog.annotations import Annotation, read_annotation
from ml.catalog.keyset_pages import read_ranked_page
from ml.catalog.shadows.shadow_sample import load_candidates
from ml.catalog.tables import (
    accounts,
    attempts,
    cross_fitted_answers,
    feedback,
    ingest_files,
    items,
    model_versions,
    results,
    review_entries,
    snapshots,
)

Queue = Literal["mispredicted", "waiting", "uncertain", "suspected", "disputed"]
QUEUES: tuple[Queue, ...] = ("mispredicted", "waiting", "uncertain", "suspected", "disputed")


@dataclass(frozen=True)
class QueueFilter:
    """A part of a queue. Args: class_name, as in `Entry`; batch_id, of the batch that brought the item."""

    queue: Queue
    class_name: str | None = None
    batch_id: int | None = None


@dataclass(frozen=True)
class Entry:
    """An item in a queue.

    Args:
        class_name: the predicted class; in `suspected`, the class that the cross-fitted answer says; in `waiting`, the
            class that the source says. None if the model found no class, and in `disputed`.
        annotation: the item's present annotation; None in `disputed`, where only a model can have given it.
        candidates: in `disputed`, the classes that two models say, in alphabetical order: nobody sees which said what.
        probabilities: of the answer, by class; empty where there is no answer, or its classes are unknown here.
        login: who rejected the answer, in `mispredicted`; None after the account is erased.
        said_at: when.
        corrected_label: what that person said it is.
        instead: what that person said in place of a class: other, none (of the known), or unsure.
        proposed_name: the name of the other class, as it was typed.
        doubt: in `suspected`, how much more probable that class is than the label.
    """

    item_id: str
    image_sha256: str
    class_name: str | None
    annotation: Annotation | None
    label_origin: str | None
    received_at: datetime
    model_version: int | None
    confidence: float | None
    margin: float | None
    probabilities: dict[str, float]
    login: str | None
    said_at: datetime | None
    corrected_label: str | None
    instead: str | None
    proposed_name: str | None
    doubt: float | None
    candidates: tuple[str, ...] = ()

    @property
    def proposed(self) -> str | None:
        """Return the label that the queue proposes to certify; None if nobody has named one, or a person rejected it.

        What a person said goes before what a model says.
        """
        label = None if self.annotation is None else self.annotation.label
        proposed = self.corrected_label or label or self.class_name
        is_rejected = self.said_at is not None and proposed == self.class_name
        return None if is_rejected else proposed


@dataclass(frozen=True)
class QueuePage:
    """The items of one page, and the cursor of the next page; None on the last page."""

    entries: list[Entry]
    next_cursor: str | None


_VERSION_CLASSES = (
    sa.select(model_versions.c.classes).where(model_versions.c.version == results.c.model_version).scalar_subquery()
)
_SNAPSHOT_CLASSES = (
    sa.select(snapshots.c.classes)
    .join_from(snapshots, attempts)
    .where(attempts.c.id == review_entries.c.attempt_id)
    .scalar_subquery()
)
_DETAILS = (
    sa.select(
        review_entries.c.item_id,
        review_entries.c.class_name,
        items.c.image_sha256,
        items.c.class_names,
        items.c.annotation,
        items.c.label_origin,
        items.c.received_at,
        results.c.model_version,
        results.c.confidence,
        results.c.margin,
        sa.func.coalesce(results.c.probabilities, cross_fitted_answers.c.probabilities).label("probabilities"),
        sa.func.coalesce(_VERSION_CLASSES, _SNAPSHOT_CLASSES).label("classes"),
        accounts.c.login,
        feedback.c.given_at.label("said_at"),
        feedback.c.corrected_label,
        feedback.c.instead,
        feedback.c.proposed_name,
        cross_fitted_answers.c.doubt,
    )
    .select_from(review_entries)
    .join(items, items.c.id == review_entries.c.item_id)
    .outerjoin(results, results.c.id == review_entries.c.result_id)
    .outerjoin(feedback, feedback.c.id == review_entries.c.feedback_id)
    .outerjoin(accounts, accounts.c.id == feedback.c.account_id)
    .outerjoin(
        cross_fitted_answers,
        (cross_fitted_answers.c.attempt_id == review_entries.c.attempt_id)
        & (cross_fitted_answers.c.item_id == review_entries.c.item_id),
    )
)


def query_queue(connection: sa.Connection, wanted: QueueFilter, limit: int, cursor: str | None) -> QueuePage:
    """Read one page of a queue, in its order: what pays most comes first.

    Args:
        limit: items per page, at least 1.
        cursor: the `next_cursor` of the page before; None for the first page.
    Raises: CursorError, the cursor is not a `next_cursor`.
    """
    query = sa.select(review_entries.c.rank, review_entries.c.item_id).where(*_conditions(wanted))
    page = read_ranked_page(connection, query, review_entries.c.rank, review_entries.c.item_id, limit, cursor)
    ids = [row.item_id for row in page.rows]
    details = _DETAILS.where(review_entries.c.queue == wanted.queue, review_entries.c.item_id.in_(ids))
    found = {row.item_id: _read(row) for row in connection.execute(details)}
    if wanted.queue == "disputed":
        candidates = load_candidates(connection, ids)
        found = {item_id: _hide_answers(entry, candidates.get(item_id, ())) for item_id, entry in found.items()}
    return QueuePage([found[item_id] for item_id in ids if item_id in found], page.next_cursor)


def count_by_class(connection: sa.Connection, wanted: QueueFilter) -> dict[str | None, int]:
    """Count the items of a queue by class, the largest number first."""
    count = sa.func.count()
    query = sa.select(review_entries.c.class_name, count).where(*_conditions(wanted))
    query = query.group_by(review_entries.c.class_name).order_by(count.desc(), review_entries.c.class_name)
    return dict(connection.execute(query).tuples().all())


def count_queues(connection: sa.Connection) -> dict[Queue, int]:
    """Count the items of each queue."""
    query = sa.select(review_entries.c.queue, sa.func.count()).group_by(review_entries.c.queue)
    counts: dict[str, int] = dict(connection.execute(query).tuples().all())
    return {queue: counts.get(queue, 0) for queue in QUEUES}


def find_entries(connection: sa.Connection, queue: Queue, item_ids: list[str]) -> set[str]:
    """Return which of some items are in a queue."""
    query = sa.select(review_entries.c.item_id).where(review_entries.c.queue == queue)
    return set(connection.scalars(query.where(review_entries.c.item_id.in_(item_ids))))


def is_in_review() -> sa.ColumnElement[bool]:
    """Return the SQL condition on training.items for items in a queue."""
    return sa.exists().where(review_entries.c.item_id == items.c.id)


def _hide_answers(entry: Entry, candidates: tuple[str, ...]) -> Entry:
    """Return an entry without what a model alone said: whoever judges two models must not know which said what."""
    return replace(entry, annotation=None, label_origin=None, candidates=candidates)


def _conditions(wanted: QueueFilter) -> list[sa.ColumnElement[bool]]:
    conditions = [review_entries.c.queue == wanted.queue]
    if wanted.class_name is not None:
        conditions.append(review_entries.c.class_name == wanted.class_name)
    if wanted.batch_id is not None:
        of_batch = sa.select(ingest_files.c.item_id).where(
            ingest_files.c.batch_id == wanted.batch_id, ingest_files.c.item_id.is_not(None)
        )
        conditions.append(review_entries.c.item_id.in_(of_batch))
    return conditions


def _read(row: Any) -> Entry:
    annotation = None if row.class_names is None else read_annotation(row.class_names, row.annotation)
    is_known = row.probabilities is not None and row.classes is not None
    probabilities = dict(zip(row.classes, row.probabilities, strict=True)) if is_known else {}
    return Entry(
        item_id=row.item_id,
        image_sha256=row.image_sha256,
        class_name=row.class_name,
        annotation=annotation,
        label_origin=row.label_origin,
        received_at=row.received_at,
        model_version=row.model_version,
        confidence=row.confidence,
        margin=row.margin,
        probabilities=probabilities,
        login=row.login,
        said_at=row.said_at,
        corrected_label=row.corrected_label,
        instead=row.instead,
        proposed_name=row.proposed_name,
        doubt=row.doubt,
    )
