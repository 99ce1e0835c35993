"""What became of a training: its attempt, and the gate's verdict."""

from dataclasses import dataclass

from ml.catalog.database import Catalog
from ml.catalog.models.attempts import Attempt, find_attempt
from ml.catalog.models.verdicts import StoredVerdict, find_verdict


@dataclass(frozen=True)
class Outcome:
    """An attempt, and its verdict once the gate has judged."""

    attempt: Attempt
    verdict: StoredVerdict | None


def find_outcome(catalog: Catalog, request_key: str) -> Outcome | None:
    """Return what became of a training; None before its snapshot. Args: request_key, in Airflow the run's id.

    Raises: DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        attempt = find_attempt(connection, request_key)
        return None if attempt is None else Outcome(attempt, find_verdict(connection, attempt.id))
