"""A few figures of the deployment's state, for the commands."""

import sqlalchemy as sa

from ml.catalog.models.journal import is_held
from ml.catalog.tables import items, monitorings


def describe_catalog(connection: sa.Connection, main_figure: str) -> dict[str, str]:
    """Describe the pool, the evaluation set, the last nightly check and the promotion hold, in words for a person.

    Args: main_figure, the name of the task's main figure.
    """
    return {
        "pool": _counts(connection, items.c.label_origin, items.c.entered_pool_at.is_not(None)),
        "evaluation set": _counts(connection, items.c.evaluation_part, items.c.split == "evaluation"),
        "last monitoring": _last_monitoring(connection, main_figure),
        "automatic promotion": "held after a rollback; `mycoflow release`" if is_held(connection) else "on",
    }


def _counts(connection: sa.Connection, column: sa.Column[str], condition: sa.ColumnElement[bool]) -> str:
    query = sa.select(column, sa.func.count()).where(condition).group_by(column).order_by(column)
    rows = connection.execute(query).tuples().all()
    total = sum(count for _, count in rows)
    parts = ", ".join(f"{count} {name}" for name, count in rows)
    return f"{total} images ({parts})" if rows else "empty"


def _last_monitoring(connection: sa.Connection, main_figure: str) -> str:
    row = connection.execute(sa.select(monitorings).order_by(monitorings.c.id.desc()).limit(1)).one_or_none()
    if row is None:
        return "never"
    new_images = row.new_images_human + row.new_images_harvested
    return f"{row.monitored_at:%Y-%m-%d %H:%M}, {main_figure} {row.main_figure:.1%}, {new_images} new images"
