"""Which images of the pool a snapshot takes: the newest, the newest of each class, all, or all since a date."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import sqlalchemy as sa

from ml.data import pool
from ml.data.pool import PoolImage
from ml.errors import SettingsError, SnapshotError

_EXPECTED = "selection: expected newest, balanced, all or since:DATE, as in since:2026-05-01"


@dataclass(frozen=True)
class Selection:
    """A way to select.

    Args:
        mode: `newest`, the newest N; `balanced`, the newest of each class, N together; `all`; or `since`, all that
            entered the pool from a moment on.
        since: that moment.
    """

    mode: Literal["newest", "balanced", "all", "since"] = "newest"
    since: datetime | None = None

    def __str__(self) -> str:
        return self.mode if self.since is None else f"since:{self.since.isoformat()}"

    @property
    def has_size(self) -> bool:
        """Whether the snapshot's size decides how many images there are."""
        return self.mode in ("newest", "balanced")


NEWEST = Selection()


def parse_selection(text: str) -> Selection:
    """Read a selection as people write it. A date alone begins at midnight, UTC.

    Raises: SettingsError, it is none.
    """
    name, _, date = text.partition(":")
    if text in ("newest", "balanced", "all"):
        return Selection(text)  # type: ignore[arg-type]  # one of these three
    try:
        since = datetime.fromisoformat(date if name == "since" else "")
    except ValueError as error:
        raise SettingsError(f"{_EXPECTED}, got {text!r}.") from error
    if since.tzinfo is None and len(date) > len("2026-05-01"):
        raise SettingsError(f"{_EXPECTED}, or a time with its zone, as in since:2026-05-01T06:00+00:00, got {text!r}.")
    return Selection("since", since if since.tzinfo else since.replace(tzinfo=UTC))


def select_images(
    connection: sa.Connection, selection: Selection, size: int, classes: Sequence[str]
) -> list[PoolImage]:
    """The images of the pool that a selection takes; those of a class are newest first.

    Args:
        size: N.
        classes: those that `balanced` takes the newest images of.
    Raises: SnapshotError, `balanced` cannot take one of each.
    """
    if selection.mode == "balanced":
        if size < len(classes):
            raise SnapshotError(
                f"Expected a snapshot of at least {len(classes)} images for the selection balanced, one of each class, "
                f"got a size of {size}. Raise MYCOFLOW_SNAPSHOT_SIZE, or take another selection."
            )
        of_each = size // len(classes)
        return [image for label in classes for image in pool.newest_images(connection, of_each, label)]
    return pool.newest_images(connection, size if selection.has_size else None, since=selection.since)
