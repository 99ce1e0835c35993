"""Labels that the champion does not know: when they become classes, and what is held out of them first."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping

import sqlalchemy as sa

from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.locks import lock_membership
from ml.catalog.logs.events import write_event
from ml.catalog.tables import images, snapshot_images
from ml.data.evaluation_sets import current_members
from ml.data.membership import hold_out, is_held_out, share_position
from ml.data.selection import fold_of

NEW_CLASS_IMAGES = 50
NEW_CLASS_EVALUATION_IMAGES = 10

logger = logging.getLogger(__name__)

Groups = Mapping[str, int]  # images of each group


def admit_new_classes(
    connection: sa.Connection, champion_classes: Collection[str], validation_ratio: float
) -> list[str]:
    """Find the labels that join the champion's classes, and give the evaluation set its share of them first.

    A label qualifies with NEW_CLASS_IMAGES human-labelled images in the pool. Those that are held out of it count on:
    a class does not lose by that what it qualified with. What the evaluation set lacks of NEW_CLASS_EVALUATION_IMAGES
    is held out now; a label of which that cannot be had waits. Call `locks.lock_pool_for_snapshot` first.

    Args: validation_ratio, of the snapshot that is being made.
    """
    lock_membership(connection, "pool")
    qualified = sorted(large_labels(connection) - set(champion_classes))
    if not qualified:
        return []
    evaluated = _count_evaluated(connection)
    for label in qualified:
        missing = NEW_CLASS_EVALUATION_IMAGES - evaluated.get(label, 0)
        if missing > 0:
            _hold_out(connection, label, missing, validation_ratio)
    measured = Counter(member.label for member in current_members(connection))
    return [label for label in qualified if measured[label] >= NEW_CLASS_EVALUATION_IMAGES]


def large_labels(connection: sa.Connection, among: Collection[str] | None = None) -> set[str]:
    """The labels that have NEW_CLASS_IMAGES human-labelled images in the pool or held out of it.

    Args: among, of these only.
    """
    is_in_pool = images.c.entered_pool_at.is_not(None) & images.c.label_origin.in_(HUMAN_ORIGINS)
    was_held_out = (images.c.evaluation_part == "recent") & images.c.held_back.is_(None)
    query = sa.select(images.c.label).where(is_in_pool | was_held_out)
    if among is not None:
        query = query.where(images.c.label.in_(among))
    return set(connection.scalars(query.group_by(images.c.label).having(sa.func.count() >= NEW_CLASS_IMAGES)))


def choose_groups(fresh: Groups, wanted: int) -> list[str]:
    """The groups to hold out: those of the permanent share, then the next ones by hash until there are enough images.

    Args:
        fresh: groups that may be held out.
        wanted: images, at least, where there are so many.
    """
    chosen: list[str] = []
    for group_key in sorted(fresh, key=share_position):
        if not is_held_out(group_key) and sum(fresh[each] for each in chosen) >= wanted:
            break
        chosen.append(group_key)
    return chosen


def _count_evaluated(connection: sa.Connection) -> dict[str, int]:
    is_evaluated = (images.c.split == "evaluation") & images.c.held_back.is_(None)
    query = sa.select(images.c.label, sa.func.count()).where(is_evaluated).group_by(images.c.label)
    return dict(connection.execute(query).tuples().all())


def _hold_out(connection: sa.Connection, label: str, wanted: int, validation_ratio: float) -> None:
    """Move groups of a label from the pool to the evaluation set, unless too little would stay to learn from."""
    fresh = _fresh_groups(connection, label)
    chosen = choose_groups(fresh, wanted)
    stays = {key: count for key, count in _groups(connection, label).items() if key not in set(chosen)}
    held_out = sum(fresh[key] for key in chosen)
    has_both_folds = len({fold_of(key, validation_ratio) for key in stays}) == 2
    if held_out < wanted or sum(stays.values()) < held_out or not has_both_folds:
        logger.warning("The label %s waits: too few groups of images that no model has learned from.", label)
        return
    hold_out(connection, chosen, "retrain")
    write_event(connection, "class.held_out", "retrain", {"label": label, "images": held_out, "groups": chosen})


def _groups(connection: sa.Connection, label: str) -> dict[str, int]:
    """The groups of a label's human-labelled pool images."""
    query = (
        sa.select(images.c.group_key, sa.func.count())
        .where(images.c.label == label, images.c.entered_pool_at.is_not(None))
        .where(images.c.label_origin.in_(HUMAN_ORIGINS))
        .group_by(images.c.group_key)
    )
    return dict(connection.execute(query).tuples().all())


def _fresh_groups(connection: sa.Connection, label: str) -> dict[str, int]:
    """Those of them that are of this label alone, by people's word, and that no snapshot ever held."""
    groups = _groups(connection, label)
    in_group = images.c.group_key.in_(groups)
    is_other = sa.or_(images.c.label != label, images.c.label_origin.not_in(HUMAN_ORIGINS))
    mixed = sa.select(images.c.group_key).where(in_group, images.c.split == "pool", is_other)
    learned = sa.select(images.c.group_key).join(snapshot_images).where(in_group)
    barred = set(connection.scalars(mixed)) | set(connection.scalars(learned))
    return {key: count for key, count in groups.items() if key not in barred}
