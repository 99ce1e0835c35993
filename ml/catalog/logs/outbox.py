"""The outbox of alerts: what people should hear of, written with the event itself. `ml.reporting` sends it later."""

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

# An alert that nobody tried to send for so long was raised while MYCOFLOW_ALERT_URLS named nobody: whoever is named
# later does not want to hear of it. One that was tried is tried until it is sent.
UNTRIED_FOR = timedelta(days=7)


@dataclass(frozen=True)
class Alert:
    """One row of the outbox.

    Args:
        event_key: names the event: a second alert with the same key is not written.
        sent_to: names of the receivers that have it already.
        sent_at: when the last receiver got it; None until then.
        tries: how often sending was tried.
        last_error: what went wrong at the last try, without the receivers' secrets.
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
    """What `raise_alert` takes."""

    kind: Kind
    event_key: str
    title: str
    body: str


_FIELDS = [alerts.c[name] for name in Alert.__dataclass_fields__]


def raise_alert(connection: sa.Connection, kind: Kind, event_key: str, title: str, body: str) -> None:
    """Tell people of an event, once: in the transaction of the event, so that neither is kept without the other.

    Args:
        event_key: the same for as long as it is the same event, such as `new-images:version 3`.
        title: one line.
        body: what happened and what to do, in sentences.
    """
    values = {"kind": kind, "event_key": event_key, "title": title, "body": body}
    connection.execute(insert(alerts).values(values).on_conflict_do_nothing(index_elements=["event_key"]))


def unsent_alerts(connection: sa.Connection, count: int) -> list[Alert]:
    """What is to be sent, the least tried first: one that never gets through does not keep the others waiting."""
    is_recent = alerts.c.raised_at > sa.func.clock_timestamp() - UNTRIED_FOR
    query = (
        sa.select(*_FIELDS)
        .where(alerts.c.sent_at.is_(None), (alerts.c.tries > 0) | is_recent)
        .order_by(alerts.c.tries, alerts.c.id)
        .limit(count)
    )
    return [Alert(*row) for row in connection.execute(query)]


def note_try(connection: sa.Connection, alert_id: int, sent_to: Sequence[str], error: str | None) -> None:
    """Note a try.

    Args:
        sent_to: all receivers that have it now.
        error: what went wrong; None where nobody is left to send it to.
    """
    sent_at = sa.func.clock_timestamp() if error is None else None
    values = {"sent_to": list(sent_to), "sent_at": sent_at, "tries": alerts.c.tries + 1, "last_error": error}
    connection.execute(sa.update(alerts).where(alerts.c.id == alert_id).values(values))


def alerts_missed_by(connection: sa.Connection, receiver: str, count: int) -> list[Alert]:
    """What a receiver lacks that is not among those whom an alert must reach to count as sent, oldest first.

    Args: receiver, its name in `sent_to`. Older alerts than UNTRIED_FOR are not worth its while any more.
    """
    is_recent = alerts.c.raised_at > sa.func.clock_timestamp() - UNTRIED_FOR
    query = sa.select(*_FIELDS).where(is_recent, sa.literal(receiver) != sa.all_(alerts.c.sent_to))
    return [Alert(*row) for row in connection.execute(query.order_by(alerts.c.id).limit(count))]


def note_receipt(connection: sa.Connection, alert_id: int, receiver: str) -> None:
    """Note that such a receiver has it. Whether the alert counts as sent stays as it is."""
    sent_to = sa.func.array_append(alerts.c.sent_to, receiver)
    connection.execute(sa.update(alerts).where(alerts.c.id == alert_id).values(sent_to=sent_to))


def latest_alerts(connection: sa.Connection, count: int) -> list[Alert]:
    """The latest alerts, newest first."""
    query = sa.select(*_FIELDS).order_by(alerts.c.id.desc()).limit(count)
    return [Alert(*row) for row in connection.execute(query)]
