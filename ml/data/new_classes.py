"""Admit classes that the champion does not know, and hold out some of their items for the evaluation set first."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping

import sqlalchemy as sa

from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.locks import lock_membership
from ml.catalog.logs.events import write_event
from ml.catalog.tables import item_classes, items, snapshot_items
from ml.data.class_sampling import count_items_by_class
from ml.data.evaluation_sets import current_members
from ml.data.membership import hold_out, is_held_out, share_position
from ml.data.pool import count_by_class, count_each_class

NEW_CLASS_IMAGES = 50
NEW_CLASS_EVALUATION_IMAGES = 10

logger = logging.getLogger(__name__)

Groups = Mapping[str, int]  # group key -> number of items


def admit_new_classes(connection: sa.Connection, champion_classes: Collection[str]) -> list[str]:
    """Return the class names that join the champion's classes, after holding out items for the evaluation set.

    A class name qualifies with NEW_CLASS_IMAGES human-labelled items, in the pool or held out of it. If the evaluation
    set has fewer than NEW_CLASS_EVALUATION_IMAGES items of the class, items are moved there from the pool. A class
    waits if there are not enough items to move. Call `locks.lock_pool_for_snapshot` first.
    """
    lock_membership(connection, "pool")
    qualified = sorted(large_classes(connection) - set(champion_classes))
    if not qualified:
        return []
    evaluated = _count_evaluated(connection)
    for name in qualified:
        missing = NEW_CLASS_EVALUATION_IMAGES - evaluated[name]
        if missing > 0:
            _hold_out(connection, name, missing)
    measured = count_items_by_class(member.annotation for member in current_members(connection))
    return [name for name in qualified if measured[name] >= NEW_CLASS_EVALUATION_IMAGES]


def large_classes(connection: sa.Connection, among: Collection[str] | None = None) -> set[str]:
    """Return the class names with at least NEW_CLASS_IMAGES human-labelled items, in the pool or held out of it.

    Args: among, consider only these class names; None for all.
    """
    was_held_out = (items.c.split == "evaluation") & (items.c.evaluation_part == "recent") & items.c.held_back.is_(None)
    counts = Counter(count_by_class(connection, among)) + _count(connection, was_held_out)
    return {name for name in counts if counts[name] >= NEW_CLASS_IMAGES and (among is None or name in among)}


def choose_groups(fresh: Groups, wanted: int) -> list[str]:
    """Choose the groups to hold out: those of the permanent share, then more by hash until there are enough items.

    Args:
        fresh: groups that may be held out.
        wanted: number of items to hold out at least, if there are so many.
    """
    chosen: list[str] = []
    for group_key in sorted(fresh, key=share_position):
        if not is_held_out(group_key) and sum(fresh[each] for each in chosen) >= wanted:
            break
        chosen.append(group_key)
    return chosen


def _count_evaluated(connection: sa.Connection) -> Counter[str]:
    return _count(connection, (items.c.split == "evaluation") & items.c.held_back.is_(None))


def _count(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Counter[str]:
    query = sa.select(items.c.class_names, sa.func.count()).where(condition).group_by(items.c.class_names)
    return count_each_class({tuple(class_names): count for class_names, count in connection.execute(query)})


def _hold_out(connection: sa.Connection, name: str, wanted: int) -> None:
    """Move groups of a class from the pool to the evaluation set, unless too few items would stay for training."""
    fresh = _fresh_groups(connection, name)
    chosen = choose_groups(fresh, wanted)
    stays = {key: count for key, count in _groups(connection, name).items() if key not in set(chosen)}
    held_out = sum(fresh[key] for key in chosen)
    if held_out < wanted or sum(stays.values()) < held_out or len(stays) < 2:  # each fold needs a group
        logger.warning(
            "The label %r waits: its images are in too few groups (such as observations) that no model has learned "
            "from. Some groups are for the evaluation set, and two or more for training.",
            name,
        )
        return
    hold_out(connection, chosen, "retrain")
    write_event(connection, "class.held_out", "retrain", {"label": name, "images": held_out, "groups": chosen})


def _groups(connection: sa.Connection, name: str) -> dict[str, int]:
    """Count the human-labelled pool items of a class by group."""
    query = (
        sa.select(items.c.group_key, sa.func.count())
        .join(item_classes)
        .where(item_classes.c.class_name == name, items.c.entered_pool_at.is_not(None))
        .where(items.c.label_origin.in_(HUMAN_ORIGINS))
        .group_by(items.c.group_key)
    )
    return dict(connection.execute(query).tuples().all())


def _fresh_groups(connection: sa.Connection, name: str) -> dict[str, int]:
    """Count as `_groups`, but only groups that no snapshot holds and whose pool items all have this human label."""
    groups = _groups(connection, name)
    in_group = items.c.group_key.in_(groups)
    is_other = ~items.c.class_names.contains([name]) | items.c.label_origin.not_in(HUMAN_ORIGINS)
    mixed = sa.select(items.c.group_key).where(in_group, items.c.split == "pool", is_other)
    learned = sa.select(items.c.group_key).join(snapshot_items).where(in_group)
    barred = set(connection.scalars(mixed)) | set(connection.scalars(learned))
    return {key: count for key, count in groups.items() if key not in barred}
