"""The database's clock. All stored times come from it, because the clocks of other machines may differ."""

from datetime import datetime

import sqlalchemy as sa


def now(connection: sa.Connection) -> datetime:
    """Return the current time."""
    moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment


def days_since(connection: sa.Connection, moment: datetime) -> float:
    """Return the number of days since a moment."""
    passed = sa.func.extract("epoch", sa.func.clock_timestamp() - moment)
    return float(connection.execute(sa.select(passed)).scalar_one()) / 86400
