"""Choices of a home (MYCOFLOW_HOME) that apply where the settings are empty, such as its task and backbone."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import home_choices


def find_choice(connection: sa.Connection, name: str) -> str | None:
    """Return the value of a choice by its name; None if nothing was chosen yet."""
    return connection.execute(sa.select(home_choices.c.value).where(home_choices.c.name == name)).scalar_one_or_none()


def keep_choice(connection: sa.Connection, name: str, value: str, reason: str) -> str:
    """Store a choice, unless there is one already, with a reason for people to read.

    Returns: the stored value, which may be the choice of another process.
    """
    statement = insert(home_choices).values(name=name, value=value, reason=reason)
    connection.execute(statement.on_conflict_do_nothing())
    query = sa.select(home_choices.c.value).where(home_choices.c.name == name)
    kept: str = connection.execute(query).scalar_one()
    return kept


def change_choice(connection: sa.Connection, name: str, value: str, reason: str) -> None:
    """Store a choice in place of the former one, with a reason for people to read."""
    statement = insert(home_choices).values(name=name, value=value, reason=reason)
    changed = {"value": value, "reason": reason, "chosen_at": sa.func.clock_timestamp()}
    connection.execute(statement.on_conflict_do_update(index_elements=[home_choices.c.name], set_=changed))
