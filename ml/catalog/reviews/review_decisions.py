"""What reviewers decided. Rows stay: a decision that was undone has the time of that."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from ml.catalog.reviews.review_queues import Queue
from ml.catalog.tables import accounts, review_decisions

DecisionKind = Literal["certify", "correct", "reject"]


@dataclass(frozen=True)
class StoredDecision:
    """A decision about one item.

    Args:
        login: of the reviewer; None after the account is erased.
        class_name: the label that was certified or set.
        reason: of a rejection; empty after the account is erased.
        changes: the items that it changed: {"id", "before", "after"}, states as ml.data.membership reads them.
    """

    id: int
    item_id: str
    queue: Queue
    decision: DecisionKind
    class_name: str | None
    reason: str | None
    account_id: int | None
    login: str | None
    changes: list[dict[str, Any]]
    decided_at: datetime
    undone_at: datetime | None


_FIELDS = [
    accounts.c.login if name == "login" else review_decisions.c[name] for name in StoredDecision.__dataclass_fields__
]


def save_decision(
    connection: sa.Connection,
    item_id: str,
    queue: Queue,
    decision: DecisionKind,
    class_name: str | None,
    reason: str | None,
    account_id: int,
    changes: Sequence[dict[str, Any]],
) -> int:
    """Store a decision, and return its id."""
    values = {
        "item_id": item_id,
        "queue": queue,
        "decision": decision,
        "class_name": class_name,
        "reason": reason,
        "account_id": account_id,
        "changes": list(changes),
    }
    statement = sa.insert(review_decisions).values(values).returning(review_decisions.c.id)
    decision_id: int = connection.execute(statement).scalar_one()
    return decision_id


def find_decisions(connection: sa.Connection, decision_ids: Collection[int]) -> list[StoredDecision]:
    """Return the decisions with these ids, newest first."""
    query = _select().where(review_decisions.c.id.in_(decision_ids)).order_by(review_decisions.c.id.desc())
    return [StoredDecision(*row) for row in connection.execute(query)]


def find_last_decisions(connection: sa.Connection, item_ids: Collection[str]) -> dict[str, StoredDecision]:
    """Return the last decision about each item, by item id, also if it was undone."""
    query = _select().where(review_decisions.c.item_id.in_(item_ids)).distinct(review_decisions.c.item_id)
    query = query.order_by(review_decisions.c.item_id, review_decisions.c.id.desc())
    return {row.item_id: StoredDecision(*row) for row in connection.execute(query)}


def note_undone(connection: sa.Connection, decision_id: int) -> None:
    """Record that a decision was undone now."""
    change = sa.update(review_decisions).where(review_decisions.c.id == decision_id)
    connection.execute(change.values(undone_at=sa.func.clock_timestamp()))


def _select() -> sa.Select[Any]:
    return sa.select(*_FIELDS).select_from(review_decisions).outerjoin(accounts)
