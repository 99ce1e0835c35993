"""The personal data of one account, read in pages so that a long history fits into memory."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.database import Catalog
from ml.catalog.tables import accounts, annotations, events, feedback, predictions, results, tokens

_PAGE_SIZE = 1000
Row = dict[str, Any]  # column name -> value


def read_account(catalog: Catalog, account_id: int) -> Row:
    """Return the row of the account, without the password hash."""
    columns = (accounts.c.id, accounts.c.login, accounts.c.role, accounts.c.created_at)
    with catalog.begin() as connection:
        return dict(connection.execute(sa.select(*columns).where(accounts.c.id == account_id)).mappings().one())


def read_history(catalog: Catalog, account_id: int) -> dict[str, Iterator[Row]]:
    """Return all other data by kind, oldest first. Each page is read when needed, in a transaction of its own."""
    actor = actor_name(account_id)
    requested = sa.select(
        predictions.c.id,
        results.c.item_id.label("image_sha256"),
        results.c.model_version,
        predictions.c.is_cached,
        predictions.c.requested_at,
    ).join(results)
    sessions = sa.select(tokens.c.id, tokens.c.created_at, tokens.c.expires_at, tokens.c.revoked_at)
    labels = sa.select(
        annotations.c.id,
        annotations.c.item_id.label("image_sha256"),
        sa.func.array_to_string(annotations.c.class_names, ", ").label("label"),
        annotations.c.origin,
        annotations.c.said_at,
    )
    given = sa.select(
        feedback.c.id,
        feedback.c.prediction_id,
        feedback.c.verdict,
        feedback.c.corrected_label,
        feedback.c.given_at,
    )
    actions = sa.select(events.c.id, events.c.kind, events.c.detail, events.c.happened_at)
    return {
        "tokens": _pages(catalog, sessions.where(tokens.c.account_id == account_id), tokens.c.id),
        "predictions": _pages(catalog, requested.where(predictions.c.account_id == account_id), predictions.c.id),
        "feedback": _pages(catalog, given.where(feedback.c.account_id == account_id), feedback.c.id),
        "labels": _pages(catalog, labels.where(annotations.c.said_by == actor), annotations.c.id),
        "events": _pages(catalog, actions.where(events.c.actor == actor), events.c.id),
    }


def actor_name(account: Account | int) -> str:
    """Return an account's name in annotations and the audit log. It identifies nobody after the account is erased."""
    return f"account:{account if isinstance(account, int) else account.id}"


def _pages(catalog: Catalog, query: sa.Select[Any], key: sa.Column[int]) -> Iterator[Row]:
    last = 0
    while True:
        with catalog.begin() as connection:
            page = connection.execute(query.where(key > last).order_by(key).limit(_PAGE_SIZE)).mappings().all()
        yield from map(dict, page)
        if len(page) < _PAGE_SIZE:
            return
        last = page[-1]["id"]
