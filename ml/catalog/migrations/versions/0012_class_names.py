"""Write the characters of stored class names that are not visible as codes: see ml.catalog.class_names."""

import sqlalchemy as sa
from alembic import op

from ml.catalog.class_names import mend_class_name

revision = "schema_0012"
down_revision = "schema_0011"
branch_labels = None
depends_on = None

LISTS = (
    "items.class_names",
    "annotations.class_names",
    "snapshot_items.class_names",
    "evaluation_set_items.class_names",
    "snapshots.classes",
    "model_versions.classes",
)
JSON = ("evaluations.per_class", "evaluations.shortfalls", "monitorings.shortfalls")
TEXTS = ("logs.results.top_class", "logs.feedback.corrected_label")


def upgrade() -> None:
    connection = op.get_bind()
    names = {name for place in LISTS for name in _list_names(connection, place)}
    names |= {name for place in TEXTS for name in _names(connection, place)}
    for name in sorted(names):
        mended = mend_class_name(name)
        if mended != name:
            _rename(connection, name, mended)


def _list_names(connection: sa.Connection, place: str) -> list[str]:
    table, column = place.split(".")
    return list(connection.scalars(sa.text(f"SELECT DISTINCT unnest({column}) FROM training.{table}")))  # noqa: S608


def _names(connection: sa.Connection, place: str) -> list[str]:
    table, _, column = place.rpartition(".")
    query = sa.text(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL")  # noqa: S608
    return list(connection.scalars(query))


def _rename(connection: sa.Connection, name: str, mended: str) -> None:
    values = {"old": name, "new": mended}
    for place in LISTS:
        table, column = place.split(".")
        connection.execute(
            sa.text(
                f"UPDATE training.{table} SET {column} = array_replace({column}, :old, :new) "  # noqa: S608
                f"WHERE :old = ANY ({column})"
            ),
            values,
        )
    for place in TEXTS:
        table, _, column = place.rpartition(".")
        connection.execute(sa.text(f"UPDATE {table} SET {column} = :new WHERE {column} = :old"), values)  # noqa: S608
    for place in JSON:
        table, column = place.split(".")
        old, new = (f"to_jsonb(CAST(:{value} AS text))::text" for value in values)
        connection.execute(
            sa.text(
                f"UPDATE training.{table} SET {column} = replace({column}::text, {old}, {new})::jsonb "  # noqa: S608
                f"WHERE strpos({column}::text, {old}) > 0"
            ),
            values,
        )
