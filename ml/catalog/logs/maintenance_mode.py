"""Maintenance mode: whether predictions are answered. The last row says it, for every replica."""

import sqlalchemy as sa

from ml.catalog.logs.events import write_event
from ml.catalog.tables import maintenance


def is_on(connection: sa.Connection) -> bool:
    """Whether predictions are refused now."""
    last = sa.select(maintenance.c.is_on).order_by(maintenance.c.id.desc()).limit(1)
    return bool(connection.execute(last).scalar_one_or_none())


def switch(connection: sa.Connection, is_on: bool, actor: str) -> None:
    """Turn maintenance mode on or off, and note it in the audit log.

    Args: actor, `account:<id>`, or a person's name on the command line.
    """
    connection.execute(sa.insert(maintenance).values(is_on=is_on, actor=actor))
    write_event(connection, "maintenance.switched", actor, {"on": is_on})
