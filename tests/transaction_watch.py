"""Check that no database transaction is open during slow work."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import sqlalchemy as sa

from ml.catalog.database import Catalog

_OPEN = sa.text(
    "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class TransactionWatch:
    """Checks all sessions of a test's database whenever slow work begins.

    Attributes:
        checks: number of checks.
        open: the last statements of the transactions that were open at a check.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.checks = 0
        self.open: list[str] = []

    def check(self) -> None:
        """Check all sessions now."""
        with self._catalog.autocommit() as connection:
            self.open += connection.scalars(_OPEN)
        self.checks += 1

    def watched(self, work: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        """Return a function that checks all sessions, then does the work."""

        def checked(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            self.check()
            return work(*args, **kwargs)

        return checked
