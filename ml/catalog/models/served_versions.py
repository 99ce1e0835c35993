"""The model version that each process of the service answers with. A process writes its row, and deletes it at exit."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import served_models

_DELETED_AFTER = timedelta(days=1)  # for the rows of killed processes


@dataclass(frozen=True)
class ServingState:
    """The model that a process answers with.

    Args:
        version: the served version; None if there is none yet.
        refused_version: the version in production, if it does not load in this process.
        load_error: why `refused_version` does not load.
    """

    version: int | None
    refused_version: int | None = None
    load_error: str | None = None


@dataclass(frozen=True)
class ServingProcess:
    """A living process and its state."""

    process: str
    version: int | None
    refused_version: int | None
    load_error: str | None
    started_at: datetime


_FIELDS = [served_models.c[name] for name in ServingProcess.__dataclass_fields__]


def note_state(connection: sa.Connection, process: str, state: ServingState, alive_for: timedelta) -> None:
    """Store the state of a process in place of its former state.

    Args: alive_for, time after which the process counts as dead if it does not call again.
    """
    now = sa.func.clock_timestamp()
    connection.execute(sa.delete(served_models).where(served_models.c.alive_until < now - _DELETED_AFTER))
    values = {**asdict(state), "alive_until": now + alive_for}
    statement = insert(served_models).values(process=process, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["process"], set_=values))


def forget_process(connection: sa.Connection, process: str) -> None:
    """Delete the row of a process that ends."""
    connection.execute(sa.delete(served_models).where(served_models.c.process == process))


def living_processes(connection: sa.Connection) -> list[ServingProcess]:
    """Return the living processes, ordered by name."""
    is_alive = served_models.c.alive_until > sa.func.clock_timestamp()
    query = sa.select(*_FIELDS).where(is_alive).order_by(served_models.c.process)
    return [ServingProcess(*row) for row in connection.execute(query)]
