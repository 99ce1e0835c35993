"""The database's clock: the only one that counts."""

from datetime import datetime

import sqlalchemy as sa


def days_since(connection: sa.Connection, moment: datetime) -> float:
    """Days that have passed since a moment."""
    passed = sa.func.extract("epoch", sa.func.clock_timestamp() - moment)
    return float(connection.execute(sa.select(passed)).scalar_one()) / 86400
