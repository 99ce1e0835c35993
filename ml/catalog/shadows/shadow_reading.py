"""Read what a challenger in shadow answered beside the champion: counts, and the photos on which they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml.catalog.annotations import Annotation, read_annotation
from ml.catalog.answers import Answer, is_novel
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.items.item_records import is_not_erased
from ml.catalog.keyset_pages import Order, read_page
from ml.catalog.logs.results import read_answer
from ml.catalog.tables import items, review_entries, shadow_answers

_MOST_CHANGES = 100


@dataclass(frozen=True)
class Counts:
    """What both models answered to some uploads.

    Args:
        photos, different: numbers of photos, and of those on which the two models differ.
        fresh, fresh_different: the same, without photos from which a training of the two models learned.
        first_asked_at, last_asked_at: times of the uploads; None without photos.
        champion_confidence, challenger_confidence: means; None without photos.
        champion_novel, challenger_novel: numbers of photos that seem to show none of the known classes; None if that
            model does not measure it.
        sample: size of the sample for experts.
        sample_done: number of these photos that people have named or called useless.
        sample_waiting: number of these photos that experts are asked about now.
    """

    photos: int
    different: int
    fresh: int
    fresh_different: int
    first_asked_at: datetime | None
    last_asked_at: datetime | None
    champion_confidence: float | None
    challenger_confidence: float | None
    champion_novel: int | None
    challenger_novel: int | None
    sample: int
    sample_done: int
    sample_waiting: int


@dataclass(frozen=True)
class Change:
    """A change of answers. Args: champion_class, challenger_class, None if that model found no class."""

    champion_class: str | None
    challenger_class: str | None
    photos: int


@dataclass(frozen=True)
class NamedPhoto:
    """A photo of which a person said what it shows, with the answers of both models."""

    group_key: str
    is_of_sample: bool
    annotation: Annotation
    champion: Answer
    challenger: Answer


@dataclass(frozen=True)
class DifferentPhoto:
    """A photo on which the two models differ.

    Args: named, what a person said it shows, for people; None if nobody did.
    """

    item_id: str
    image_sha256: str
    asked_at: datetime
    champion_class: str | None
    champion_confidence: float
    champion_is_novel: bool
    challenger_class: str | None
    challenger_confidence: float
    challenger_is_novel: bool
    is_learned: bool
    named: str | None


@dataclass(frozen=True)
class DifferentPage:
    """The photos of one page, the latest upload first, and the cursor of the next page; None on the last page."""

    photos: Sequence[DifferentPhoto]
    next_cursor: str | None


def count_answers(connection: sa.Connection, challenger: int) -> Counts:
    """Count what both models answered to the uploads."""
    answers, count = shadow_answers.c, sa.func.count()
    is_fresh = ~answers.is_learned
    of_sample = answers.sample_place.is_not(None)
    is_done = items.c.label_origin.in_(HUMAN_ORIGINS) | (items.c.held_back == "excluded")
    is_waiting = sa.exists().where(review_entries.c.queue == "disputed", review_entries.c.item_id == items.c.id)
    query = sa.select(
        count,
        count.filter(answers.is_different),
        count.filter(is_fresh),
        count.filter(is_fresh, answers.is_different),
        sa.func.min(answers.asked_at),
        sa.func.max(answers.asked_at),
        sa.func.avg(answers.champion_confidence),
        sa.func.avg(answers.challenger_confidence),
        *(
            sa.case((sa.func.count(novelty) > 0, count.filter(novelty > 1)))
            for novelty in (answers.champion_novelty, answers.challenger_novelty)
        ),
        count.filter(of_sample),
        count.filter(of_sample, is_done),
        count.filter(of_sample, is_waiting),
    )
    return Counts(*connection.execute(_of(query, challenger)).one())


def list_changes(connection: sa.Connection, challenger: int) -> list[Change]:
    """Return which answers become which others, the most frequent change first, up to 100."""
    classes = (shadow_answers.c.champion_class, shadow_answers.c.challenger_class)
    count = sa.func.count()
    query = _of(sa.select(*classes, count), challenger).where(shadow_answers.c.is_different)
    query = query.group_by(*classes).order_by(count.desc(), *classes).limit(_MOST_CHANGES)
    return [Change(*row) for row in connection.execute(query)]


def load_named(connection: sa.Connection, challenger: int) -> list[NamedPhoto]:
    """Return the photos of which a person said what they show, without those from which a model has learned."""
    fields = ("class", "confidence", "margin", "probabilities", "novelty", "answer")
    columns = [shadow_answers.c[f"{role}_{field}"] for role in ("champion", "challenger") for field in fields]
    query = sa.select(
        items.c.group_key, shadow_answers.c.sample_place, items.c.class_names, items.c.annotation, *columns
    )
    query = _of(query, challenger).where(
        ~shadow_answers.c.is_learned, items.c.label_origin.in_(HUMAN_ORIGINS), items.c.class_names.is_not(None)
    )
    return [_read_named(row) for row in connection.execute(query.order_by(items.c.id))]


def query_different(
    connection: sa.Connection, challenger: int, limit: int, cursor: str | None, change: tuple[str, str] | None = None
) -> DifferentPage:
    """Read one page of the photos on which the two models differ, the latest upload first.

    Args: limit, cursor, as `read_page`; change, only photos with these classes of champion and challenger.
    Raises: CursorError, the cursor is not a `next_cursor`.
    """
    query = sa.select(shadow_answers, items.c.image_sha256, items.c.class_names, items.c.annotation, _is_named())
    query = _of(query, challenger).where(shadow_answers.c.is_different, items.c.image_sha256.is_not(None))
    if change is not None:
        query = query.where(sa.tuple_(shadow_answers.c.champion_class, shadow_answers.c.challenger_class) == change)
    order = Order(shadow_answers.c.asked_at, shadow_answers.c.item_id)
    page = read_page(connection, query, order, limit, cursor)
    return DifferentPage([_read_different(row) for row in page.rows], page.next_cursor)


def _of(query: sa.Select[Any], challenger: int) -> sa.Select[Any]:
    answers = shadow_answers.join(items)
    return query.select_from(answers).where(shadow_answers.c.challenger_version == challenger, is_not_erased())


def _is_named() -> sa.ColumnElement[bool]:
    return items.c.label_origin.in_(HUMAN_ORIGINS).label("is_named")


def _read_named(row: Any) -> NamedPhoto:
    group_key, sample_place, class_names, detail, *answers = row
    annotation = read_annotation(class_names, detail)
    champion, challenger = read_answer(*answers[:6]), read_answer(*answers[6:])
    return NamedPhoto(group_key, sample_place is not None, annotation, champion, challenger)


def _read_different(row: Any) -> DifferentPhoto:
    is_named = row.is_named and row.class_names is not None
    return DifferentPhoto(
        item_id=row.item_id,
        image_sha256=row.image_sha256,
        asked_at=row.asked_at,
        champion_class=row.champion_class,
        champion_confidence=row.champion_confidence,
        champion_is_novel=is_novel(row.champion_novelty),
        challenger_class=row.challenger_class,
        challenger_confidence=row.challenger_confidence,
        challenger_is_novel=is_novel(row.challenger_novelty),
        is_learned=row.is_learned,
        named=read_annotation(row.class_names, row.annotation).label if is_named else None,
    )
