"""The names of classes, read name by name from an index: the number of items does not matter."""

from typing import Any

import sqlalchemy as sa

from ml.catalog.tables import item_classes, model_versions, review_entries


def list_item_classes(connection: sa.Connection) -> dict[str, bool]:
    """Return each class of items, and whether anybody but a source has said so of an item."""
    found = _each(item_classes.c.class_name)
    is_said = sa.exists().where(
        item_classes.c.class_name == found.c.class_name, item_classes.c.label_origin != "stated"
    )
    query = sa.select(found.c.class_name, is_said).where(found.c.class_name.is_not(None))
    return dict(connection.execute(query).tuples().all())


def list_reviewed_classes(connection: sa.Connection) -> list[str]:
    """Return the classes of the review queues: what models and sources said of items that wait for a person."""
    name = _each(review_entries.c.class_name).c.class_name
    return list(connection.scalars(sa.select(name).where(name.is_not(None))))


def list_newest_classes(connection: sa.Connection) -> list[str]:
    """Return the classes of the model version that was registered last; none without a version."""
    newest = sa.select(model_versions.c.classes).order_by(model_versions.c.version.desc()).limit(1)
    return connection.scalars(newest).one_or_none() or []


def _each(column: sa.Column[Any]) -> sa.CTE:
    """Return the different values of an indexed column, and None. Each step reads the first row of the next value."""
    first = sa.select(column).where(column.is_not(None)).order_by(column).limit(1)
    found = sa.select(first.subquery().c[column.name]).cte("found", recursive=True)
    last, later = found.c[column.name], column.table.alias("later").c[column.name]
    following = sa.select(later).where(later > last).order_by(later).limit(1).scalar_subquery()
    return found.union_all(sa.select(following).where(last.is_not(None)))
