"""Steps of trainings that gave up. A step may fail before its attempt exists, so the request's key names the training.

The code that records a failure raises the alert on it in the same transaction.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import attempts, training_failures


def record_failure(connection: sa.Connection, request_key: str, step: str, try_number: int) -> None:
    """Record that a step of a training gave up. The first report of a try counts."""
    values = {"request_key": request_key, "step": step, "try_number": try_number}
    connection.execute(insert(training_failures).values(values).on_conflict_do_nothing())


def has_failed(request_key: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return the condition that a step of this training gave up."""
    return sa.exists().where(training_failures.c.request_key == request_key)


def last_failure(connection: sa.Connection) -> datetime | None:
    """Return when a step of a training last gave up, among the trainings that have not ended since."""
    has_ended = sa.exists().where(
        attempts.c.request_key == training_failures.c.request_key,
        attempts.c.finished_at > training_failures.c.failed_at,
    )
    query = sa.select(training_failures.c.failed_at).where(~has_ended).order_by(training_failures.c.failed_at.desc())
    found: datetime | None = connection.execute(query.limit(1)).scalar_one_or_none()
    return found
