"""The audit log: who did what, and the reports of clients. The table is append-only."""

from collections.abc import Mapping

import sqlalchemy as sa

from ml.catalog.tables import events


def write_event(connection: sa.Connection, kind: str, actor: str, detail: Mapping[str, object]) -> int:
    """Add an event. Call this in the transaction of the action, so that both are committed or neither is.

    Args:
        kind: what happened, such as `image.relabelled`; kinds of client reports begin with `client:`.
        actor: `account:<id>`, never a login, so that erasing an account makes its events anonymous.
        detail: further facts, as JSON.
    Returns: the event's id.
    """
    event_id: int = connection.execute(
        sa.insert(events).values(kind=kind, actor=actor, detail=dict(detail)).returning(events.c.id)
    ).scalar_one()
    return event_id
