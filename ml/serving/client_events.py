"""Record events of clients in the audit log."""

from collections.abc import Mapping

from sqlalchemy.exc import DataError

from ml.catalog.database import Catalog
from ml.catalog.logs.events import write_event
from ml.errors import EventError


def record_client_event(catalog: Catalog, kind: str, actor: str, detail: Mapping[str, object]) -> int:
    """Record an event of a client. Its kind gets the prefix `client:`, which the service's own events do not have.

    Args: actor, `account:<id>`.
    Returns: the event's id.
    Raises: EventError, the database cannot store the detail; DatabaseUnavailableError.
    """
    try:
        with catalog.begin() as connection:
            return write_event(connection, f"client:{kind}", actor, detail)
    except DataError as error:  # Python's JSON parser accepts more than PostgreSQL's jsonb can store
        raise EventError(
            "detail: expected JSON without NaN, infinite numbers, NUL characters and halves of surrogate pairs."
        ) from error
