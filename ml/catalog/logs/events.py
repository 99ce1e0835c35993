"""The audit log: what was done, by whom, and what clients report. Rows are only ever added."""

from collections.abc import Mapping

import sqlalchemy as sa

from ml.catalog.tables import events


def write_event(connection: sa.Connection, kind: str, actor: str, detail: Mapping[str, object]) -> int:
    """Add an event, in the transaction of what it speaks of, so that neither is kept without the other.

    Args:
        kind: what happened, such as `image.relabelled`; what clients report begins with `client:`.
        actor: who did it: `account:<id>`, never a login, so that erasing an account makes its traces anonymous.
        detail: the particulars, as JSON has them.
    Returns: the event's id.
    """
    event_id: int = connection.execute(
        sa.insert(events).values(kind=kind, actor=actor, detail=dict(detail)).returning(events.c.id)
    ).scalar_one()
    return event_id
