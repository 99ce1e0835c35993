"""List the photos that a person asked about, the latest answer of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.answers import is_novel
from ml.catalog.database import Catalog
from ml.catalog.items.item_records import is_not_erased
from ml.catalog.keyset_pages import Order, read_page
from ml.catalog.tables import feedback, items, predictions, results
from ml.reporting.answered_photos.shown_answers import GivenOpinion

Said = Literal["ok", "nok", "nothing"]


@dataclass(frozen=True)
class OwnPhotoFilter:
    """A filter of photos. A photo must match all fields that are not None.

    Args: top_class, of the latest answer; said, what the person said of that answer.
    """

    top_class: str | None = None
    said: Said | None = None


@dataclass(frozen=True)
class OwnPhoto:
    """One photo, and its latest answer.

    Args: is_novel, it seems to show none of the known classes.
    """

    prediction_id: int
    image_sha256: str
    requested_at: datetime
    model_version: int
    top_class: str | None
    confidence: float
    is_novel: bool
    opinion: GivenOpinion | None


class OwnPhotosPage(NamedTuple):
    """The photos of one page, newest first, and the cursor of the next page; None on the last page."""

    photos: Sequence[OwnPhoto]
    next_cursor: str | None


def list_own_photos(
    catalog: Catalog, account: Account, wanted: OwnPhotoFilter, limit: int, cursor: str | None
) -> OwnPhotosPage:
    """Return one page of the photos that an account asked about, without erased ones.

    Args: limit, photos per page; cursor, the `next_cursor` of the page before, None for the first page.
    Raises: CursorError, DatabaseUnavailableError.
    """
    opinion = _latest_opinion(account)
    query = _own(account).add_columns(*opinion.c).outerjoin(opinion, sa.true())
    if wanted.top_class is not None:
        query = query.where(results.c.top_class == wanted.top_class)
    if wanted.said == "nothing":
        query = query.where(opinion.c.verdict.is_(None))
    elif wanted.said is not None:
        query = query.where(opinion.c.verdict == wanted.said)
    with catalog.begin() as connection:
        page = read_page(connection, query, Order(predictions.c.requested_at, predictions.c.id), limit, cursor)
    return OwnPhotosPage([_read(row) for row in page.rows], page.next_cursor)


def list_own_classes(catalog: Catalog, account: Account) -> list[str]:
    """Return the classes that an account's photos were given, in alphabetical order.

    Raises: DatabaseUnavailableError.
    """
    query = sa.select(results.c.top_class).join(predictions).where(predictions.c.account_id == account.id)
    with catalog.begin() as connection:
        found = connection.scalars(query.where(results.c.top_class.is_not(None)).distinct())
        return sorted((name for name in found if name is not None), key=str.casefold)


def _own(account: Account) -> sa.Select[Any]:
    later, later_result = predictions.alias(), results.alias()
    is_asked_again = (
        sa.exists()
        .where(later_result.c.item_id == results.c.item_id, later.c.result_id == later_result.c.id)
        .where(later.c.account_id == account.id, later.c.id > predictions.c.id)
    )
    return (
        sa.select(
            predictions.c.id,
            items.c.image_sha256,
            predictions.c.requested_at,
            results.c.model_version,
            results.c.top_class,
            results.c.confidence,
            results.c.novelty,
        )
        .select_from(predictions.join(results).join(items))
        .where(predictions.c.account_id == account.id, items.c.image_sha256.is_not(None), is_not_erased())
        .where(~is_asked_again)
    )


def _latest_opinion(account: Account) -> sa.FromClause:
    said = sa.select(
        feedback.c.verdict,
        feedback.c.corrected_label,
        feedback.c.instead,
        feedback.c.proposed_name,
        feedback.c.given_at,
    )
    of_answer = said.where(feedback.c.prediction_id == predictions.c.id, feedback.c.account_id == account.id)
    return of_answer.correlate(predictions).order_by(feedback.c.id.desc()).limit(1).lateral("opinion")


def _read(row: Any) -> OwnPhoto:
    opinion = None
    if row.verdict is not None:
        opinion = GivenOpinion(row.verdict, row.corrected_label, row.instead, row.proposed_name, row.given_at)
    return OwnPhoto(
        row.id,
        row.image_sha256,
        row.requested_at,
        row.model_version,
        row.top_class,
        row.confidence,
        is_novel(row.novelty),
        opinion,
    )
