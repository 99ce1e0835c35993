"""Which version each process of the service answers with, as the process itself says. A row ends with its process."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import served_models

_FORGOTTEN_AFTER = timedelta(days=1)  # a process that was killed could not take its row away


@dataclass(frozen=True)
class ServingState:
    """What a process answers with.

    Args:
        version: the served version; None before the first.
        refused_version: the version in production, where it does not load; `load_error` says why.
    """

    version: int | None
    refused_version: int | None = None
    load_error: str | None = None


@dataclass(frozen=True)
class ServingProcess:
    """A process that is alive, and its state."""

    process: str
    version: int | None
    refused_version: int | None
    load_error: str | None
    started_at: datetime


_FIELDS = [served_models.c[name] for name in ServingProcess.__dataclass_fields__]


def note_state(connection: sa.Connection, process: str, state: ServingState, alive_for: timedelta) -> None:
    """Keep what a process answers with, in place of what it said before.

    Args: alive_for, how long the row counts without another word of the process.
    """
    now = sa.func.clock_timestamp()
    connection.execute(sa.delete(served_models).where(served_models.c.alive_until < now - _FORGOTTEN_AFTER))
    values = {**asdict(state), "alive_until": now + alive_for}
    statement = insert(served_models).values(process=process, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["process"], set_=values))


def forget_process(connection: sa.Connection, process: str) -> None:
    """Note that a process has ended."""
    connection.execute(sa.delete(served_models).where(served_models.c.process == process))


def living_processes(connection: sa.Connection) -> list[ServingProcess]:
    """The processes that serve now, by name."""
    is_alive = served_models.c.alive_until > sa.func.clock_timestamp()
    query = sa.select(*_FIELDS).where(is_alive).order_by(served_models.c.process)
    return [ServingProcess(*row) for row in connection.execute(query)]
