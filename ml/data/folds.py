"""Divide a snapshot's groups into the folds train and validation, so that each class has its share of both."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from ml.catalog.tables import items, snapshot_items, snapshots
from ml.data.pool import PoolItem

# A group keeps the fold that it has in one of the newest snapshots. More of them would make the query slow.
REMEMBERED_SNAPSHOTS = 30

Fold = Literal["train", "validation"]
GroupSizes = dict[str, int]  # group key -> number of items


def divide_groups(
    connection: sa.Connection, labelled: Iterable[PoolItem], validation_ratio: float
) -> Mapping[str, Fold]:
    """Return the fold of each group of the human-labelled items of a snapshot.

    Each class comes as close to the ratio as its groups allow, and gets a group in each fold if it has two. A group
    that a former snapshot used stays in its fold, unless its class would have none in the other. Fresh groups are taken
    in the order of their hashes, so the same pool gives the same folds.

    Args: validation_ratio, share of the items of each class in the validation fold, 0 to 1.
    """
    by_class: dict[str, GroupSizes] = defaultdict(Counter)
    groups: dict[str, None] = {}
    for item in labelled:
        groups[item.group_key] = None
        for name in set(item.annotation.class_names):
            by_class[name][item.group_key] += 1
    division = _Division(by_class, validation_ratio, _former_folds(connection, groups))
    # A group may show several classes. Classes with few groups choose first, because they have the least choice.
    for name in sorted(by_class, key=lambda name: (len(by_class[name]), name)):
        division.share(name)
    for name in sorted(by_class):
        division.demand_both(name)
    return {group: division.folds.get(group, "train") for group in groups}


def hash_position(group_key: str) -> float:
    """Return the position of a group in the order in which groups go to the validation fold, 0 to 1."""
    return int.from_bytes(hashlib.sha256(group_key.encode()).digest()[:8], "big") / 2**64


@dataclass(frozen=True)
class _Division:
    """Folds while they are chosen. Args: by_class, the groups of each class; folds, of the groups that have one."""

    by_class: Mapping[str, GroupSizes]
    ratio: float
    folds: dict[str, Fold]

    def share(self, name: str) -> None:
        """Give each group of a class a fold: validation while that brings the class closer to the ratio."""
        sizes = self.by_class[name]
        missing = self.ratio * sum(sizes.values()) - self._count(name, "validation")
        for group in sorted(sizes.keys() - self.folds.keys(), key=hash_position):
            is_closer = sizes[group] < 2 * missing
            self.folds[group] = "validation" if is_closer else "train"
            missing -= sizes[group] if is_closer else 0

    def demand_both(self, name: str) -> None:
        """Move a group of a class that has only one fold, if no class loses a fold by it."""
        found = {self.folds[group] for group in self.by_class[name]}
        if len(found) == 2:
            return
        (fold,) = found
        movable = [group for group in self.by_class[name] if self._is_movable(group, fold)]
        if movable:
            smallest = min(movable, key=lambda group: (self.by_class[name][group], hash_position(group)))
            self.folds[smallest] = "validation" if fold == "train" else "train"

    def _is_movable(self, group: str, fold: Fold) -> bool:
        """Return whether each class of a group has another group in its fold."""
        return all(
            any(self.folds[other] == fold for other in sizes if other != group)
            for sizes in self.by_class.values()
            if group in sizes
        )

    def _count(self, name: str, fold: Fold) -> int:
        return sum(count for group, count in self.by_class[name].items() if self.folds.get(group) == fold)


def _former_folds(connection: sa.Connection, groups: Iterable[str]) -> dict[str, Fold]:
    """Return the folds of groups in the newest snapshots. Joined groups stay in train: a model saw a part."""
    newest = sa.select(snapshots.c.id).order_by(snapshots.c.id.desc()).limit(REMEMBERED_SNAPSHOTS)
    query = (
        sa.select(items.c.group_key, sa.func.bool_or(snapshot_items.c.fold == "train"))
        .join_from(snapshot_items, items)
        .where(snapshot_items.c.snapshot_id.in_(newest), items.c.group_key.in_(list(groups)))
        .group_by(items.c.group_key)
    )
    return {group: "train" if was_trained else "validation" for group, was_trained in connection.execute(query)}
