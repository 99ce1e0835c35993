"""Select the pool items of a snapshot: the newest, the newest of each class, all, or all since a date.

Human-labelled items come first. Harvested items fill the rest of the size, up to a maximum share of each class.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Literal

import sqlalchemy as sa

from ml.data import pool
from ml.data.class_sampling import count_items_by_class, rarest_class
from ml.data.folds import Fold, divide_groups
from ml.data.pool import PoolItem
from ml.errors import SettingsError, SnapshotError

_EXPECTED = "selection: expected newest, balanced, all or since:DATE, as in since:2026-05-01"
# A class with fewer items than this share of (snapshot size / number of classes) is topped up to it.
TOP_UP_BELOW = 0.25
# If nobody sets the size, a snapshot takes this many images, or this many for each class if that is more.
SMALLEST_DEFAULT_SIZE = 1000
DEFAULT_SIZE_PER_CLASS = 100


@dataclass(frozen=True)
class Selection:
    """A rule that selects items of the pool.

    Args:
        mode: `newest`, the newest N; `balanced`, N items with the same number from each class, newest first; `all`; or
            `since`, all that entered the pool at a moment or later.
        since: that moment; None with the other modes.
    """

    mode: Literal["newest", "balanced", "all", "since"] = "newest"
    since: datetime | None = None

    def __str__(self) -> str:
        return self.mode if self.since is None else f"since:{self.since.isoformat()}"

    @property
    def has_size(self) -> bool:
        """Whether the snapshot's size limits the number of items."""
        return self.mode in ("newest", "balanced")


NEWEST = Selection()


@dataclass(frozen=True)
class SnapshotRules:
    """The rules that create a snapshot.

    Args:
        size: number of items, if the selection has a size; None for a size that grows with the number of classes.
        validation_ratio: share of the items of each class in the validation fold, 0 to 1.
        harvest_share: largest share of harvested items in each class, 0 to 1.
    """

    size: int | None
    validation_ratio: float
    harvest_share: float
    selection: Selection = NEWEST

    def size_for(self, class_count: int) -> int | None:
        """Return the number of items for this many classes; None if the selection has no size."""
        if not self.selection.has_size:
            return None
        return self.size or max(SMALLEST_DEFAULT_SIZE, DEFAULT_SIZE_PER_CLASS * class_count)


@dataclass(frozen=True)
class SelectedItems:
    """The items of a snapshot. Args: folds, of the groups of human-labelled items; all other groups are in train."""

    items: list[PoolItem]
    folds: Mapping[str, Fold]

    def fold_of(self, item: PoolItem) -> Fold:
        """Return the fold of one of the items."""
        return self.folds.get(item.group_key, "train")


def parse_selection(text: str) -> Selection:
    """Parse a selection that a person wrote. A date without a time means midnight UTC.

    Raises: SettingsError, the text is not a selection.
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


def select_items(connection: sa.Connection, rules: SnapshotRules, classes: Sequence[str]) -> SelectedItems:
    """Select the items of a snapshot with these classes. Harvested items never replace human-labelled ones.

    Raises: SnapshotError, the selection has no human-labelled items, or the size is too small for one item per class.
    """
    labelled = select_labelled(connection, rules, classes)
    if not labelled:
        remedy = "Take an earlier date, or ingest" if rules.selection.since else "Ingest"
        raise SnapshotError(
            f"Expected images that people labelled in the pool for the selection {rules.selection}, found none. "
            f"{remedy} more with `mycoflow ingest DIR --split pool`."
        )
    folds = divide_groups(connection, labelled, rules.validation_ratio)
    return SelectedItems(labelled + select_harvested(connection, rules, classes, labelled, folds), folds)


def select_labelled(connection: sa.Connection, rules: SnapshotRules, classes: Sequence[str]) -> list[PoolItem]:
    """Select the human-labelled items of a snapshot, each class newest first.

    If the selection has very few items of a class, its newest ones are added. If all of them are in one group, the
    newest item of another group is added, because a class needs a group for each fold.

    Raises: SnapshotError, the size is too small for one item per class.
    """
    selection, size = rules.selection, rules.size_for(len(classes))
    if selection.mode == "balanced":
        in_pool, of_each = _lazy_class_counts(connection), _of_each(rules, classes)
        chosen: list[PoolItem] = []
        for name in classes:
            showing = pool.each_newest_labelled(connection, classes, name, page_size=of_each)
            chosen += islice((item for item in showing if _counts_for(item, in_pool) == name), of_each)
    else:
        chosen = pool.newest_labelled(connection, size, classes, selection.since)
    chosen += _top_up(connection, chosen, classes, len(chosen) if size is None else size)
    return chosen + _second_groups(connection, chosen, classes)


def select_harvested(
    connection: sa.Connection,
    rules: SnapshotRules,
    classes: Sequence[str],
    labelled: Sequence[PoolItem],
    folds: Mapping[str, Fold],
) -> list[PoolItem]:
    """Select the newest harvested items for the rest of the size, up to the harvest share of each class.

    The validation fold holds human labels only, and a group is never divided, so items of a validation group are left
    out. An item counts for the rarest of its classes.

    Args: labelled, the items that `select_labelled` selected; folds, of their groups.
    """
    size = rules.size_for(len(classes))
    room = None if size is None else size - len(labelled)
    if room is not None and room <= 0:
        return []
    in_pool = _lazy_class_counts(connection)
    counts = Counter(_counts_for(item, in_pool) for item in labelled)
    held = {group for group, fold in folds.items() if fold == "validation"}
    found: list[PoolItem] = []
    for name in classes:
        most = most_harvested(counts[name], rules.harvest_share)
        if rules.selection.mode == "balanced":
            most = min(most, max(0, _of_each(rules, classes) - counts[name]))
        if not most:
            continue
        learnable = _learnable(connection, classes, name, rules, held, page_size=most)
        found += islice((item for item in learnable if _counts_for(item, in_pool) == name), most)
    return sorted(found, key=lambda item: item.entered_pool_at, reverse=True)[:room]


def most_harvested(labelled: int, harvest_share: float) -> int:
    """Return the largest number h of harvested items in a class for which h / (h + labelled) <= harvest_share."""
    # Without the small addition, a rounding error could lower an exact result by one.
    return int(labelled * harvest_share / (1 - harvest_share) + 1e-9)


def _lazy_class_counts(connection: sa.Connection) -> Callable[[], Mapping[str, int]]:
    """Return a function that counts the pool by class at its first call. That is slow, and needed only for items with
    several classes.
    """
    return cache(lambda: pool.count_by_class(connection))


def _counts_for(item: PoolItem, in_pool: Callable[[], Mapping[str, int]]) -> str | None:
    names = item.annotation.class_names
    return names[0] if len(names) == 1 else rarest_class(item.annotation, in_pool())


def _of_each(rules: SnapshotRules, classes: Sequence[str]) -> int:
    size = rules.size_for(len(classes)) or 0
    if size < len(classes):
        raise SnapshotError(
            f"Expected a snapshot of at least {len(classes)} images for the selection balanced, one of each class, "
            f"got a size of {size}. Raise or unset MYCOFLOW_SNAPSHOT_SIZE, or take another selection."
        )
    return size // len(classes)


def _top_up(connection: sa.Connection, chosen: Sequence[PoolItem], classes: Sequence[str], size: int) -> list[PoolItem]:
    if not chosen:
        return []
    fewest = max(2, round(TOP_UP_BELOW * size / len(classes)))
    counts = count_items_by_class(item.annotation for item in chosen)
    known = {item.item_id for item in chosen}
    added: dict[str, PoolItem] = {}  # one item may top up two classes
    for name in classes:
        if counts[name] < fewest:
            newest = pool.newest_labelled(connection, fewest, classes, showing=name)
            added |= {item.item_id: item for item in newest if item.item_id not in known}
    return list(added.values())


def _second_groups(connection: sa.Connection, chosen: Sequence[PoolItem], classes: Sequence[str]) -> list[PoolItem]:
    """Return the newest item of another group for each class whose chosen items are all in one group."""
    groups: dict[str, set[str]] = {name: set() for name in classes}
    for item in chosen:
        for name in item.annotation.class_names:
            groups[name].add(item.group_key)
    added: dict[str, PoolItem] = {}
    for name, found in groups.items():
        if len(found) == 1:
            newest = pool.newest_labelled(connection, 1, classes, showing=name, outside_groups=found)
            added |= {item.item_id: item for item in newest}
    return list(added.values())


def _learnable(
    connection: sa.Connection,
    classes: Sequence[str],
    showing: str,
    rules: SnapshotRules,
    held: Collection[str],
    page_size: int,
) -> Iterable[PoolItem]:
    harvested = pool.each_newest_harvested(connection, classes, showing, page_size, rules.selection.since)
    return (item for item in harvested if item.group_key not in held)
