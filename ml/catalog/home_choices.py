"""Choices of a home (MYCOFLOW_HOME) that apply where the settings are empty, such as its task and backbone."""

import os
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import home_choices
from ml.errors import SettingsError
from ml.settings import Settings, variable


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


def unfinished_restore(settings: Settings) -> Path:
    """Return the path of the file that exists in a home while a restore runs, and after it was killed."""
    return settings.mycoflow_home / "restore.unfinished"


def has_unfinished_restore(settings: Settings) -> bool:
    """Return whether a restore into the home runs, or was killed."""
    return os.path.lexists(unfinished_restore(settings))


def demand_restored(settings: Settings) -> None:
    """Refuse a home whose restore has not ended, because a part of its data is missing.

    Raises: SettingsError.
    """
    if has_unfinished_restore(settings):
        raise SettingsError(
            f"Expected a home whose restore has ended. A restore into {settings.mycoflow_home} is running, or was "
            "killed. Wait for it, or run `mycoflow restore FOLDER` again. To give it up, delete the home's folder."
        )


def demand_home(connection: sa.Connection, settings: Settings) -> None:
    """Refuse settings that name another task or another model than this home has trained for.

    Raises: SettingsError.
    """
    for choice, name, value in _identity(settings):
        kept = find_choice(connection, choice)
        if kept not in (None, value):
            raise SettingsError(
                f"Expected {name}={kept}, as in this home's trainings and registrations. Received: {value}. "
                f"Set {name} back, or use another MYCOFLOW_HOME and database."
            )


def keep_home(connection: sa.Connection, settings: Settings) -> None:
    """Record the task and the model's name for good, because what is stored next depends on them.

    Raises: SettingsError, another process was first and recorded others.
    """
    for choice, name, value in _identity(settings):
        keep_choice(connection, choice, value, f"{name} had this value at the first training or registration.")
    demand_home(connection, settings)


def _identity(settings: Settings) -> list[tuple[str, str, str]]:
    """Return (name of the choice, name of the setting, its current value)."""
    return [("task", variable("task"), settings.task), ("model name", variable("model_name"), settings.model_name)]
