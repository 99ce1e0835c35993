"""The gate's verdicts. An attempt has at most one."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import verdicts


@dataclass(frozen=True)
class StoredVerdict:
    """The gate's verdict on a model version. The figures are the task's main figure, shares between 0 and 1.

    Args: decision, promote or keep.
    """

    model_version: int
    champion_version: int | None
    evaluation_set_version: int
    decision: str
    reasons: list[str]
    warnings: list[str]
    challenger_figure: float
    champion_figure: float | None


_FIELDS = [verdicts.c[name] for name in StoredVerdict.__dataclass_fields__]


def save_verdict(connection: sa.Connection, attempt_id: int, verdict: StoredVerdict) -> None:
    """Store the verdict on an attempt, unless it has one."""
    values = {name: getattr(verdict, name) for name in StoredVerdict.__dataclass_fields__}
    connection.execute(insert(verdicts).values(attempt_id=attempt_id, **values).on_conflict_do_nothing())


def revise_verdict(connection: sa.Connection, attempt_id: int, verdict: StoredVerdict) -> None:
    """Replace the verdict on an attempt, after the gate compared again."""
    values = {name: getattr(verdict, name) for name in StoredVerdict.__dataclass_fields__}
    connection.execute(sa.update(verdicts).where(verdicts.c.attempt_id == attempt_id).values(**values))


def find_verdict(connection: sa.Connection, attempt_id: int) -> StoredVerdict | None:
    """Return the verdict on an attempt; None before the gate."""
    row = connection.execute(sa.select(*_FIELDS).where(verdicts.c.attempt_id == attempt_id)).one_or_none()
    return None if row is None else StoredVerdict(*row)


def verdicts_by_version(connection: sa.Connection) -> dict[int, StoredVerdict]:
    """Return the verdict on each model version that has one."""
    return {row.model_version: StoredVerdict(*row) for row in connection.execute(sa.select(*_FIELDS))}
