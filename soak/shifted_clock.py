"""A clock that can be moved forward: PostgreSQL's, because every time in the catalog comes from the database."""

import sqlalchemy as sa

from ml.catalog.database import create_engine
from ml.settings import Settings

# PostgreSQL looks up a function without a schema along the search path, and takes the first one. Our schema comes
# before pg_catalog there, so queries and the defaults of new tables use these functions.
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
    """Install the simulated clock in the database of a new deployment, before anything else opens the database.

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
    """Move the clock forward by some days."""
    connection.execute(
        sa.text("UPDATE simulated.clock SET ahead = ahead + make_interval(days => :days)"), {"days": days}
    )
