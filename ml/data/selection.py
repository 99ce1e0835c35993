"""Which items of the pool a snapshot takes: the newest, the newest of each class, all, or all since a date.

What people labelled comes first. Harvested images fill what is left of the size, up to their share of each class.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Literal

import sqlalchemy as sa

from ml.data import pool
from ml.data.class_sampling import count_items_by_class, rarest_class
from ml.data.pool import PoolItem
from ml.errors import SettingsError, SnapshotError

_EXPECTED = "selection: expected newest, balanced, all or since:DATE, as in since:2026-05-01"
# A class of the model is topped up when it has less than this share of an even share of the snapshot.
STARVED_BELOW = 0.25


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
        """Whether the snapshot's size decides how many items there are."""
        return self.mode in ("newest", "balanced")


NEWEST = Selection()


@dataclass(frozen=True)
class SnapshotRules:
    """How a snapshot is made. Ratios are shares between 0 and 1; `size` is for the selections that have one."""

    size: int
    validation_ratio: float
    harvest_share: float
    selection: Selection = NEWEST


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


def select_items(connection: sa.Connection, rules: SnapshotRules, classes: Sequence[str]) -> list[PoolItem]:
    """The items of these classes that a snapshot takes. Those that people labelled are there whatever was harvested.

    Raises: SnapshotError, people labelled none of what the selection asks for, or `balanced` cannot take one of each.
    """
    labelled = select_labelled(connection, rules, classes)
    if not labelled:
        remedy = "Take an earlier date, or ingest" if rules.selection.since else "Ingest"
        raise SnapshotError(
            f"Expected images that people labelled in the pool for the selection {rules.selection}, found none. "
            f"{remedy} more with `mycoflow ingest DIR --split pool`."
        )
    return labelled + select_harvested(connection, rules, classes, labelled)


def select_labelled(connection: sa.Connection, rules: SnapshotRules, classes: Sequence[str]) -> list[PoolItem]:
    """The items that people labelled of what `select_items` takes, those of a class newest first.

    A class of which the selection has very few is topped up with its newest ones.

    Raises: SnapshotError, `balanced` cannot take one of each.
    """
    selection = rules.selection
    if selection.mode == "balanced":
        in_pool, of_each = _counted_once(connection), _of_each(rules, classes)
        chosen: list[PoolItem] = []
        for name in classes:
            showing = pool.each_newest_labelled(connection, classes, name, page_size=of_each)
            chosen += islice((item for item in showing if _counts_for(item, in_pool) == name), of_each)
    else:
        size = rules.size if selection.has_size else None
        chosen = pool.newest_labelled(connection, size, classes, selection.since)
    return chosen + _top_up(connection, chosen, classes, rules.size if selection.has_size else len(chosen))


def select_harvested(
    connection: sa.Connection, rules: SnapshotRules, classes: Sequence[str], labelled: Sequence[PoolItem]
) -> list[PoolItem]:
    """The newest harvested items for what people's left free of the size, up to the share of each class.

    A validation fold holds human labels only, and a group is never divided: an item whose group is there stays out. An
    item counts for the rarest of the classes that it shows.

    Args: labelled, what `select_labelled` found.
    """
    room = rules.size - len(labelled) if rules.selection.has_size else None
    if room is not None and room <= 0:
        return []
    in_pool = _counted_once(connection)
    counts = Counter(_counts_for(item, in_pool) for item in labelled)
    found: list[PoolItem] = []
    for name in classes:
        most = most_harvested(counts[name], rules.harvest_share)
        if rules.selection.mode == "balanced":
            most = min(most, max(0, _of_each(rules, classes) - counts[name]))
        if not most:
            continue
        learnable = _learnable(connection, classes, name, rules, page_size=most)
        found += islice((item for item in learnable if _counts_for(item, in_pool) == name), most)
    return sorted(found, key=lambda item: item.entered_pool_at, reverse=True)[:room]


def most_harvested(labelled: int, harvest_share: float) -> int:
    """How many harvested items a class may have beside so many that people labelled: h / (h + labelled) <= share."""
    # The nudge keeps an exact ratio from being lost to floating point.
    return int(labelled * harvest_share / (1 - harvest_share) + 1e-9)


def _counted_once(connection: sa.Connection) -> Callable[[], Mapping[str, int]]:
    """Counts the pool by class when it is first asked: slow, and not needed for items that show one class."""
    return cache(lambda: pool.count_by_class(connection))


def _counts_for(item: PoolItem, in_pool: Callable[[], Mapping[str, int]]) -> str | None:
    names = item.annotation.class_names
    return names[0] if len(names) == 1 else rarest_class(item.annotation, in_pool())


def _of_each(rules: SnapshotRules, classes: Sequence[str]) -> int:
    if rules.size < len(classes):
        raise SnapshotError(
            f"Expected a snapshot of at least {len(classes)} images for the selection balanced, one of each class, "
            f"got a size of {rules.size}. Raise MYCOFLOW_SNAPSHOT_SIZE, or take another selection."
        )
    return rules.size // len(classes)


def _top_up(connection: sa.Connection, chosen: Sequence[PoolItem], classes: Sequence[str], size: int) -> list[PoolItem]:
    if not chosen:
        return []
    fewest = max(2, round(STARVED_BELOW * size / len(classes)))
    counts = count_items_by_class(item.annotation for item in chosen)
    known = {item.item_id for item in chosen}
    added: dict[str, PoolItem] = {}  # one item may top up two classes
    for name in classes:
        if counts[name] < fewest:
            newest = pool.newest_labelled(connection, fewest, classes, showing=name)
            added |= {item.item_id: item for item in newest if item.item_id not in known}
    return list(added.values())


def _learnable(
    connection: sa.Connection, classes: Sequence[str], showing: str, rules: SnapshotRules, page_size: int
) -> Iterable[PoolItem]:
    harvested = pool.each_newest_harvested(connection, classes, showing, page_size, rules.selection.since)
    return (item for item in harvested if fold_of(item.group_key, rules.validation_ratio) == "train")


def fold_of(group_key: str, validation_ratio: float) -> str:
    """The fold of a group: a function of its hash alone, so that no item ever changes sides.

    A group never divides, and an item's neighbours or the day do not matter.
    """
    digest = hashlib.sha256(group_key.encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return "validation" if position < validation_ratio else "train"
