"""pgvector 0.8 or later, an extension of PostgreSQL. Without it all works, except that no similar photos are found.

Releases before 0.8 have no iterative scan: with the conditions on known photos, they would find fewer than six.
"""

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

_FIND = sa.text(
    "SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace "
    "WHERE extname = 'vector' AND string_to_array(substring(extversion FROM '^[0-9.]+'), '.')::int[] >= '{0,8}'"
)


def ensure_extension(connection: sa.Connection) -> None:
    """Add the extension to the database if the server has it and the user may add it."""
    if find_extension(connection) is not None:
        return
    try:
        with connection.begin_nested():
            connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public"))
    except DBAPIError:  # the server has no pgvector, or only a superuser may add it; `mycoflow status` says so
        return


def find_extension(connection: sa.Connection) -> str | None:
    """Return the schema that the extension is in, quoted for SQL; None if the database has no release 0.8 or later."""
    found: str | None = connection.execute(_FIND).scalar_one_or_none()
    return found
