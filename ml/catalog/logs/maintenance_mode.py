"""Maintenance mode: while it is on, the service refuses predictions. The last row holds the state for all replicas."""

import sqlalchemy as sa

from ml.catalog.logs.events import write_event
from ml.catalog.tables import maintenance


def is_on(connection: sa.Connection) -> bool:
    """Return whether maintenance mode is on."""
    last = sa.select(maintenance.c.is_on).order_by(maintenance.c.id.desc()).limit(1)
    return bool(connection.execute(last).scalar_one_or_none())


def switch(connection: sa.Connection, is_on: bool, actor: str) -> None:
    """Turn maintenance mode on or off, and add an event to the audit log.

    Args: actor, `account:<id>`, or on the command line the name of the system's user.
    """
    connection.execute(sa.insert(maintenance).values(is_on=is_on, actor=actor))
    write_event(connection, "maintenance.switched", actor, {"on": is_on})
