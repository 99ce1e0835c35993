"""What clients have to report, in the audit log."""

from collections.abc import Mapping

from sqlalchemy.exc import DataError

from ml.catalog.database import Catalog
from ml.catalog.logs.events import write_event
from ml.errors import EventError


def record_client_event(catalog: Catalog, kind: str, actor: str, detail: Mapping[str, object]) -> int:
    """Keep an event of a client. Its kind is kept as `client:` and the kind given, so it passes for none of ours.

    Args: actor, `account:<id>`.
    Returns: the event's id.
    Raises: EventError, the database cannot hold the detail; DatabaseUnavailableError.
    """
    try:
        with catalog.begin() as connection:
            return write_event(connection, f"client:{kind}", actor, detail)
    except DataError as error:  # Python reads more than PostgreSQL's jsonb can hold
        raise EventError(
            "detail: expected JSON without NaN, infinite numbers, NUL characters and halves of surrogate pairs."
        ) from error
