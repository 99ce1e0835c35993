"""Harvest: add items with a confident prediction to the pool, with the model's own annotation."""

from collections.abc import Callable

import sqlalchemy as sa

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.annotations import Annotation
from ml.catalog.images.copy_index import ImageStatistics, load_statistics
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.items.item_records import is_only_predicted
from ml.catalog.locks import lock_membership
from ml.catalog.tables import annotations, feedback, harvests, items, predictions, results
from ml.data import membership
from ml.data.copies.near_copies import copies_of
from ml.data.membership import find_obstacles

# Limit per account, against scripts that send thousands of images. A person sends tens.
HARVESTED_PER_DAY = 50


def is_harvestable(connection: sa.Connection, item_id: str, account_id: int | None) -> bool:
    """Return whether an item is only predicted, nobody disputed it, and its account is below the daily limit.

    Without the membership lock the answer may change; `harvest` checks again.
    """
    return _find_group(connection, item_id) is not None and _harvested_today(connection, account_id) < HARVESTED_PER_DAY


def harvest(
    connection: sa.Connection,
    item_id: str,
    annotation: Annotation,
    model_version: int,
    account_id: int | None,
    mirrored: bool,
    has_good_quality: Callable[[ImageStatistics], bool],
) -> bool:
    """Add an item to the pool with the annotation of a model version, if it is still harvestable.

    A copy of a known image is not harvested, because models would be trained on one photo many times. Nor is an item
    without stored image statistics, which `ml.data.copies.near_copies.prepare_search` computes.

    Args:
        account_id: of the account that sent the item.
        mirrored: whether a mirror image is a copy.
        has_good_quality: returns whether an image's statistics pass the quality check.
    Returns: whether this call added the item to the pool.
    """
    lock_membership(connection, "pool")
    statistics = load_statistics(connection, [item_id]).get(item_id)
    if statistics is None or not has_good_quality(statistics) or not is_harvestable(connection, item_id, account_id):
        return False
    copies = copies_of(connection, item_id, mirrored)
    group_key = _find_group(connection, item_id) or item_id
    obstacles = find_obstacles(connection, "pool", item_id, group_key, copies)
    if copies.found or obstacles.blocking:
        return False
    membership.harvest(connection, item_id, annotation, model_version)
    row = {"item_id": item_id, "account_id": account_id, "model_version": model_version}
    connection.execute(sa.insert(harvests).values(row))
    return True


def take_back(connection: sa.Connection, account_id: int, actor: str) -> int:
    """Suspend all items that were harvested from an account or last labelled by it. They leave their split.

    A suspended item waits for another person's decision. Existing snapshots do not change.

    Args: actor, who suspends them, for the audit log.
    Returns: number of suspended items.
    """
    lock_membership(connection, "pool")
    is_in = items.c.split.is_not(None) & items.c.held_back.is_(None)
    harvested = (
        sa.select(items.c.id)
        .join(harvests)
        .where(is_in, items.c.label_origin == "harvested", harvests.c.account_id == account_id)
    )
    last_annotator = (
        sa.select(annotations.c.said_by)
        .where(annotations.c.item_id == items.c.id)
        .order_by(annotations.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    labelled = sa.select(items.c.id).where(
        is_in, items.c.label_origin.in_(HUMAN_ORIGINS), last_annotator == actor_name(account_id)
    )
    found = sorted({*connection.scalars(harvested), *connection.scalars(labelled)})
    return membership.suspend(connection, found, actor, account=account_id)


# Built once, because nearly every new prediction runs it. An item with a disputed prediction is not harvestable.
_FIND_GROUP = sa.select(items.c.group_key).where(
    items.c.id == sa.bindparam("item_id"),
    is_only_predicted(),
    ~sa.exists().where(
        feedback.c.verdict == "nok",
        feedback.c.prediction_id == predictions.c.id,
        predictions.c.result_id == results.c.id,
        results.c.item_id == sa.bindparam("item_id"),
    ),
)


def _find_group(connection: sa.Connection, item_id: str) -> str | None:
    """Return the group of an item if the item is only predicted and nobody disputed it, else None."""
    return connection.execute(_FIND_GROUP, {"item_id": item_id}).scalar_one_or_none()


def _harvested_today(connection: sa.Connection, account_id: int | None) -> int:
    """Count the items that were harvested from an account within the last 24 hours."""
    since = sa.func.clock_timestamp() - sa.text("interval '24 hours'")
    is_current = items.c.held_back.is_distinct_from("superseded")  # each version of an item has the row of its harvest
    query = sa.select(sa.func.count()).select_from(harvests).join(items)
    query = query.where(harvests.c.account_id == account_id, harvests.c.harvested_at > since, is_current)
    found: int = connection.execute(query).scalar_one()
    return found
