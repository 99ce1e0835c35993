"""The outbox of alerts. An alert is stored in the transaction of its event, and `ml.reporting` sends it later."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import alerts

Kind = Literal[
    "below_floor",
    "new_images",
    "retraining_failed",
    "retraining_overdue",
    "task_failed",
    "not_served",
    "quarantine",
    "promotion_waiting",
    "promoted",
    "rolled_back",
    "moved_externally",
]

# An older alert that was never tried was raised while MYCOFLOW_ALERT_URLS was empty. Receivers that were added later do
# not need it. An alert that was tried once is tried until it is sent.
UNTRIED_FOR = timedelta(days=7)


@dataclass(frozen=True)
class Alert:
    """One row of the outbox.

    Args:
        event_key: identifies the event. A second alert with the same key is not stored.
        sent_to: names of the receivers that have the alert.
        sent_at: time when the last receiver got it; None before.
        tries: number of attempts to send it.
        last_error: error of the last attempt, without the receivers' secrets; None if there was none.
    """

    id: int
    kind: Kind
    event_key: str
    title: str
    body: str
    raised_at: datetime
    sent_at: datetime | None
    sent_to: list[str]
    tries: int
    last_error: str | None


class Notice(NamedTuple):
    """The arguments of `raise_alert`."""

    kind: Kind
    event_key: str
    title: str
    body: str


_FIELDS = [alerts.c[name] for name in Alert.__dataclass_fields__]


def raise_alert(connection: sa.Connection, kind: Kind, event_key: str, title: str, body: str) -> None:
    """Store an alert, once per event. Call this in the transaction of the event, so that both are committed or none.

    Args:
        event_key: identifies the event, such as `new-images:version 3`.
        title: one line.
        body: sentences that say what happened and what to do.
    """
    values = {"kind": kind, "event_key": event_key, "title": title, "body": body}
    connection.execute(insert(alerts).values(values).on_conflict_do_nothing(index_elements=["event_key"]))


def unsent_alerts(connection: sa.Connection, count: int) -> list[Alert]:
    """Return pending alerts, those with the fewest tries first, so that one that always fails does not block others."""
    is_recent = alerts.c.raised_at > sa.func.clock_timestamp() - UNTRIED_FOR
    query = (
        sa.select(*_FIELDS)
        .where(alerts.c.sent_at.is_(None), (alerts.c.tries > 0) | is_recent)
        .order_by(alerts.c.tries, alerts.c.id)
        .limit(count)
    )
    return [Alert(*row) for row in connection.execute(query)]


def note_try(connection: sa.Connection, alert_id: int, sent_to: Sequence[str], error: str | None) -> None:
    """Record an attempt to send an alert.

    Args:
        sent_to: all receivers that have it now.
        error: the error of the attempt; None if all receivers have the alert.
    """
    sent_at = sa.func.clock_timestamp() if error is None else None
    values = {"sent_to": list(sent_to), "sent_at": sent_at, "tries": alerts.c.tries + 1, "last_error": error}
    connection.execute(sa.update(alerts).where(alerts.c.id == alert_id).values(values))


def alerts_missed_by(connection: sa.Connection, receiver: str, count: int) -> list[Alert]:
    """Return the alerts that an optional receiver lacks, oldest first, without alerts older than UNTRIED_FOR.

    An alert may count as sent without an optional receiver.

    Args: receiver, its name in `sent_to`.
    """
    is_recent = alerts.c.raised_at > sa.func.clock_timestamp() - UNTRIED_FOR
    query = sa.select(*_FIELDS).where(is_recent, sa.literal(receiver) != sa.all_(alerts.c.sent_to))
    return [Alert(*row) for row in connection.execute(query.order_by(alerts.c.id).limit(count))]


def alerts_since(connection: sa.Connection, kind: Kind, since: datetime) -> list[Alert]:
    """Return the alerts of a kind that were raised since a moment, newest first."""
    query = sa.select(*_FIELDS).where(alerts.c.kind == kind, alerts.c.raised_at >= since).order_by(alerts.c.id.desc())
    return [Alert(*row) for row in connection.execute(query)]


def note_receipt(connection: sa.Connection, alert_id: int, receiver: str) -> None:
    """Record that an optional receiver has an alert. This does not change whether the alert counts as sent."""
    sent_to = sa.func.array_append(alerts.c.sent_to, receiver)
    connection.execute(sa.update(alerts).where(alerts.c.id == alert_id).values(sent_to=sent_to))


def latest_alerts(connection: sa.Connection, count: int) -> list[Alert]:
    """Return the latest alerts, newest first."""
    query = sa.select(*_FIELDS).order_by(alerts.c.id.desc()).limit(count)
    return [Alert(*row) for row in connection.execute(query)]
