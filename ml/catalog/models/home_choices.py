"""What a home goes by where the settings say nothing: what it chose once, or what a setting said last."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import home_choices


def find_choice(connection: sa.Connection, name: str) -> str | None:
    """Return what was chosen, by its name; None where nobody chose yet."""
    return connection.execute(sa.select(home_choices.c.value).where(home_choices.c.name == name)).scalar_one_or_none()


def keep_choice(connection: sa.Connection, name: str, value: str, reason: str) -> str:
    """Keep a choice, with its reason for people.

    Returns: what is chosen from now on: another process may have been first.
    """
    statement = insert(home_choices).values(name=name, value=value, reason=reason)
    connection.execute(statement.on_conflict_do_nothing())
    query = sa.select(home_choices.c.value).where(home_choices.c.name == name)
    kept: str = connection.execute(query).scalar_one()
    return kept


def change_choice(connection: sa.Connection, name: str, value: str, reason: str) -> None:
    """Choose something else from now on, with the reason for people."""
    statement = insert(home_choices).values(name=name, value=value, reason=reason)
    changed = {"value": value, "reason": reason, "chosen_at": sa.func.clock_timestamp()}
    connection.execute(statement.on_conflict_do_update(index_elements=[home_choices.c.name], set_=changed))
