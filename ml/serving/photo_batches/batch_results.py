"""Read what became of the photos of a batch: for pages, for programs, and as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from ml.catalog.answers import is_novel
from ml.catalog.database import Catalog
from ml.catalog.items.item_records import is_not_erased
from ml.catalog.tables import batch_photos, items, predictions, results

PhotoState = Literal["waiting", "named", "failed", "skipped", "erased"]
Shown = Literal["named", "novel", "failed", "waiting", "skipped"]
COLUMNS = ("number", "file", "state", "problem", "name", "proba", "is_novel", "model_version", "prediction_id")
# Spreadsheets take a cell that begins so as a formula, and run it.
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # also fullwidth


@dataclass(frozen=True)
class BatchResult:
    """One photo of a batch.

    Args:
        number: from 1, as in the ZIP or in the list.
        name: of the file, or the address.
        problem: the kind of problem, if it failed.
        prediction_id, image_sha256, model_version, top_class, confidence, is_novel: None without an answer.
    """

    number: int
    name: str
    state: PhotoState
    problem: str | None
    prediction_id: int | None
    image_sha256: str | None
    model_version: int | None
    top_class: str | None
    confidence: float | None
    is_novel: bool | None


@dataclass(frozen=True)
class ResultFilter:
    """A filter of photos. A photo must match all fields that are not None."""

    shown: Shown | None = None
    top_class: str | None = None


EVERYTHING = ResultFilter()


def list_results(
    catalog: Catalog, batch_id: int, wanted: ResultFilter = EVERYTHING, after: int = 0, limit: int | None = None
) -> list[BatchResult]:
    """Return photos of a batch, in its order.

    Args: after, the number of the last photo of the page before; limit, photos per page, None for all.
    Raises: DatabaseUnavailableError.
    """
    photos = batch_photos
    query = (
        sa.select(
            photos.c.number,
            photos.c.name,
            photos.c.state,
            photos.c.problem,
            predictions.c.id,
            items.c.image_sha256,
            results.c.model_version,
            results.c.top_class,
            results.c.confidence,
            results.c.novelty,
        )
        .select_from(_answered_photos())
        .where(photos.c.batch_id == batch_id, photos.c.number > after, *_conditions(wanted))
        .order_by(photos.c.number)
        .limit(limit)
    )
    with catalog.begin() as connection:
        return [
            BatchResult(*row[:9], is_novel=None if row.id is None else is_novel(row.novelty))
            for row in connection.execute(query)
        ]


def list_batch_classes(catalog: Catalog, batch_id: int) -> list[str]:
    """Return the classes that the photos of a batch were given, in alphabetical order.

    Raises: DatabaseUnavailableError.
    """
    of_batch = (batch_photos.c.batch_id == batch_id) & results.c.top_class.is_not(None)
    query = sa.select(results.c.top_class).select_from(_answered_photos()).where(of_batch).distinct()
    with catalog.begin() as connection:
        return sorted((name for name in connection.scalars(query) if name is not None), key=str.casefold)


def write_csv(photos: Iterable[BatchResult]) -> str:
    """Return photos as CSV (RFC 4180), with a line of column names. A cell that a spreadsheet would run begins with '.

    Source: OWASP, CSV Injection.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_write_cell(cell) for cell in _cells_of(photo)] for photo in photos)
    return text.getvalue()


def _cells_of(photo: BatchResult) -> Sequence[object]:
    return (
        photo.number,
        photo.name,
        photo.state,
        photo.problem,
        photo.top_class,
        None if photo.confidence is None else f"{100 * photo.confidence:.2f}",
        None if photo.is_novel is None else str(photo.is_novel).lower(),
        photo.model_version,
        photo.prediction_id,
    )


def _write_cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.lstrip(" \N{NO-BREAK SPACE}").startswith(_FORMULA_SIGNS) else text


def _answered_photos() -> sa.FromClause:
    """Return photos with their answers, without answers to photos that were erased."""
    of_photo = (items.c.id == results.c.item_id) & is_not_erased() & items.c.image_sha256.is_not(None)
    answers = predictions.join(results).join(items, of_photo)
    return batch_photos.outerjoin(answers, predictions.c.id == batch_photos.c.prediction_id)


def _conditions(wanted: ResultFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.shown == "novel":
        conditions.append(results.c.novelty > 1)
    elif wanted.shown is not None:
        conditions.append(batch_photos.c.state == wanted.shown)
    if wanted.top_class is not None:
        conditions.append(results.c.top_class == wanted.top_class)
    return conditions
