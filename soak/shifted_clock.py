"""A clock that can be put forward: PostgreSQL's, since every time in the catalog is the database's."""

import sqlalchemy as sa

from ml.catalog.database import create_engine
from ml.settings import Settings

# A function that is named without its schema is the first of that name on the search path. Standing before PostgreSQL's
# own, these are what queries find, and what the columns' defaults are bound to when the tables are made.
_INSTALL = """
CREATE SCHEMA simulated;
CREATE TABLE simulated.clock (ahead interval NOT NULL);
INSERT INTO simulated.clock VALUES ('0');
CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT pg_catalog.clock_timestamp() + ahead FROM simulated.clock';
CREATE FUNCTION simulated.now() RETURNS timestamptz LANGUAGE sql STABLE AS
    'SELECT pg_catalog.now() + ahead FROM simulated.clock';
GRANT USAGE ON SCHEMA simulated TO PUBLIC;
GRANT SELECT ON simulated.clock TO PUBLIC;
"""


def install_clock(settings: Settings) -> None:
    """Give the database of a new deployment its clock. Call it before anything else opens the database.

    Raises: DatabaseUnavailableError.
    """
    engine = create_engine(settings)
    try:
        with engine.begin() as connection:
            connection.execute(sa.text(_INSTALL))
            database = connection.dialect.identifier_preparer.quote(engine.url.database or "")
            connection.execute(sa.text(f"ALTER DATABASE {database} SET search_path = public, simulated, pg_catalog"))
    finally:
        engine.dispose()


def put_forward(connection: sa.Connection, days: int) -> None:
    """Let some days pass."""
    connection.execute(
        sa.text("UPDATE simulated.clock SET ahead = ahead + make_interval(days => :days)"), {"days": days}
    )
