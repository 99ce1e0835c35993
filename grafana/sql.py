"""SQL for Grafana's panels: the queries of ml as text. The role grafana_ro cannot read accounts."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from ml.catalog.tables import promotions

CHAMPION = (
    sa.select(promotions.c.to_version)
    .where(promotions.c.completed_at.is_not(None), promotions.c.kind != "release")
    .order_by(promotions.c.id.desc())
    .limit(1)
)


def shown_time(column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a time is in the dashboard's range: a macro of the PostgreSQL plugin."""
    return sa.literal_column(f"$__timeFilter({as_text(column)})", sa.Boolean)


def as_text(query: sa.ClauseElement) -> str:
    """Return the SQL of a query, with its values."""
    return str(query.compile(dialect=PGDialect_psycopg2(), compile_kwargs={"literal_binds": True}))  # type: ignore[no-untyped-call]
