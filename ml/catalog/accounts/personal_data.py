"""The personal data of one account, read in pages so that a long history fits into memory."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.database import Catalog
from ml.catalog.tables import (
    accounts,
    annotations,
    batch_photos,
    events,
    feedback,
    harvests,
    images,
    prediction_batches,
    predictions,
    promotions,
    results,
    review_decisions,
    tokens,
)

_PAGE_SIZE = 1000
Row = dict[str, Any]  # column name -> value


class Kind(NamedTuple):
    """A kind of data. Args: query, of all accounts; its first column is the key; owner, the column of the account."""

    query: sa.Select[Any]
    key: sa.Column[Any]
    owner: sa.Column[Any]


def _kind(owner: sa.Column[Any], *columns: sa.ColumnElement[Any]) -> Kind:
    (key,) = owner.table.primary_key
    return Kind(sa.select(*columns).select_from(owner.table), key, owner)


_OF_PREDICTION = _kind(
    predictions.c.account_id,
    predictions.c.id,
    results.c.item_id.label("image_sha256"),
    results.c.model_version,
    predictions.c.is_cached,
    predictions.c.requested_at,
)

_OF_BATCH = sa.select(
    batch_photos.c.id,
    batch_photos.c.batch_id,
    batch_photos.c.number,
    batch_photos.c.name,
    batch_photos.c.state,
    batch_photos.c.problem,
    batch_photos.c.prediction_id,
    batch_photos.c.done_at,
).select_from(batch_photos.join(prediction_batches))

# Maintenance mode is not here: each switch is an event too.
KINDS = {
    "tokens": _kind(tokens.c.account_id, tokens.c.id, tokens.c.created_at, tokens.c.expires_at, tokens.c.revoked_at),
    "predictions": _OF_PREDICTION._replace(query=_OF_PREDICTION.query.join(results)),
    "feedback": _kind(
        feedback.c.account_id,
        feedback.c.id,
        feedback.c.prediction_id,
        feedback.c.verdict,
        feedback.c.corrected_label,
        feedback.c.instead,
        feedback.c.proposed_name,
        feedback.c.given_at,
    ),
    "labels": _kind(
        annotations.c.said_by,
        annotations.c.id,
        annotations.c.item_id.label("image_sha256"),
        sa.func.array_to_string(annotations.c.class_names, ", ").label("label"),
        annotations.c.annotation.label("detail"),
        annotations.c.origin,
        annotations.c.said_at,
    ),
    "decisions": _kind(
        review_decisions.c.account_id,
        review_decisions.c.id,
        review_decisions.c.item_id.label("image_sha256"),
        review_decisions.c.queue,
        review_decisions.c.decision,
        review_decisions.c.class_name.label("label"),
        review_decisions.c.reason,
        review_decisions.c.changes,
        review_decisions.c.decided_at,
        review_decisions.c.undone_at,
    ),
    "prediction_batches": _kind(
        prediction_batches.c.account_id,
        prediction_batches.c.id,
        prediction_batches.c.name,
        prediction_batches.c.is_cancelled,
        prediction_batches.c.created_at,
        prediction_batches.c.finished_at,
    ),
    "batch_photos": Kind(_OF_BATCH, batch_photos.c.id, prediction_batches.c.account_id),
    "photos": _kind(
        images.c.account_id,
        images.c.sha256.label("image_sha256"),
        images.c.media_type,
        images.c.width,
        images.c.height,
        images.c.byte_count,
        images.c.received_at,
    ),
    "harvests": _kind(
        harvests.c.account_id,
        harvests.c.item_id.label("image_sha256"),
        harvests.c.model_version,
        harvests.c.harvested_at,
    ),
    "promotions": _kind(
        promotions.c.actor,
        promotions.c.id,
        promotions.c.kind,
        promotions.c.from_version,
        promotions.c.to_version,
        promotions.c.reason,
        promotions.c.intended_at,
        promotions.c.completed_at,
    ),
    "events": _kind(events.c.actor, events.c.id, events.c.kind, events.c.detail, events.c.happened_at),
}


def read_account(catalog: Catalog, account_id: int) -> Row:
    """Return the row of the account, without the password hash."""
    columns = (accounts.c.id, accounts.c.login, accounts.c.role, accounts.c.created_at)
    with catalog.begin() as connection:
        return dict(connection.execute(sa.select(*columns).where(accounts.c.id == account_id)).mappings().one())


def read_history(catalog: Catalog, account_id: int) -> dict[str, Iterator[Row]]:
    """Return all other data by kind, oldest first; what has no number is ordered by its photo.

    Each page is read when needed, in a transaction of its own.
    """
    return {name: _pages(catalog, kind, account_id) for name, kind in KINDS.items()}


def actor_name(account: Account | int) -> str:
    """Return an account's name in annotations and the audit log. It identifies nobody after the account is erased."""
    return f"account:{account if isinstance(account, int) else account.id}"


def _pages(catalog: Catalog, kind: Kind, account_id: int) -> Iterator[Row]:
    is_named = isinstance(kind.owner.type, sa.Text)
    query = kind.query.where(kind.owner == (actor_name(account_id) if is_named else account_id))
    query = query.order_by(kind.key).limit(_PAGE_SIZE)
    rest = query
    while True:
        with catalog.begin() as connection:
            page = connection.execute(rest).all()
        yield from (dict(row._mapping) for row in page)
        if len(page) < _PAGE_SIZE:
            return
        rest = query.where(kind.key > page[-1][0])
