"""Looks for transactions that are open while something else is being done."""

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
    """Looks at all sessions of a test's database whenever slow work begins.

    Attributes:
        looks: how often it looked.
        open: the last statements of the transactions that were open then.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.looks = 0
        self.open: list[str] = []

    def look(self) -> None:
        """Look now."""
        with self._catalog.autocommit() as connection:
            self.open += connection.scalars(_OPEN)
        self.looks += 1

    def around(self, work: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        """Return a function that looks, then does the work."""

        def watched(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            self.look()
            return work(*args, **kwargs)

        return watched
