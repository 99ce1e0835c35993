"""The database's clock: the only one that counts."""

from datetime import datetime

import sqlalchemy as sa


def now(connection: sa.Connection) -> datetime:
    """This moment."""
    moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment


def days_since(connection: sa.Connection, moment: datetime) -> float:
    """Days that have passed since a moment."""
    passed = sa.func.extract("epoch", sa.func.clock_timestamp() - moment)
    return float(connection.execute(sa.select(passed)).scalar_one()) / 86400
