"""Select the pool items of a snapshot: the newest, the newest of each class, all, or all since a date.

Human-labelled items come first. Harvested items fill the rest of the size, up to a maximum share of each class.
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
# A class with fewer items than this share of (snapshot size / number of classes) is topped up to it.
TOP_UP_BELOW = 0.25


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
        size: number of items, if the selection has a size.
        validation_ratio: share of the groups in the validation fold, 0 to 1.
        harvest_share: largest share of harvested items in each class, 0 to 1.
    """

    size: int
    validation_ratio: float
    harvest_share: float
    selection: Selection = NEWEST


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


def select_items(connection: sa.Connection, rules: SnapshotRules, classes: Sequence[str]) -> list[PoolItem]:
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
    return labelled + select_harvested(connection, rules, classes, labelled)


def select_labelled(connection: sa.Connection, rules: SnapshotRules, classes: Sequence[str]) -> list[PoolItem]:
    """Select the human-labelled items of a snapshot, each class newest first.

    If the selection has very few items of a class, its newest ones are added.

    Raises: SnapshotError, the size is too small for one item per class.
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
    """Select the newest harvested items for the rest of the size, up to the harvest share of each class.

    The validation fold holds human labels only, and a group is never divided, so items of a validation group are left
    out. An item counts for the rarest of its classes.

    Args: labelled, the items that `select_labelled` selected.
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
    """Return the largest number h of harvested items in a class for which h / (h + labelled) <= harvest_share."""
    # Without the small addition, a rounding error could lower an exact result by one.
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
    fewest = max(2, round(TOP_UP_BELOW * size / len(classes)))
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
    """Return the fold of a group, train or validation. It depends only on the hash of the group key, so it is stable.

    All items of a group are in the same fold.
    """
    digest = hashlib.sha256(group_key.encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return "validation" if position < validation_ratio else "train"
