"""Harvest: new items that the model is sure about go into the pool under the model's own annotation."""

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

# Of one account. A forest walk has tens of photos; a script has thousands.
HARVESTED_PER_DAY = 50


def is_harvestable(connection: sa.Connection, item_id: str, account_id: int | None) -> bool:
    """Whether an item is only predicted so far, disputed by nobody, and its account has something left for today.

    Good for a first look without the membership lock.
    """
    return _find_group(connection, item_id) is not None and _harvested_today(connection, account_id) < HARVESTED_PER_DAY


def harvest(
    connection: sa.Connection,
    item_id: str,
    annotation: Annotation,
    model_version: int,
    account_id: int | None,
    mirrored: bool,
    shows_something: Callable[[ImageStatistics], bool],
) -> bool:
    """Put an item into the pool under the annotation that a model version gave it, if it is still harvestable.

    A copy of any known image is not: models would learn one photo many times. An item whose image was never
    measured is not either (`ml.data.copies.near_copies.prepare_search` does).

    Args:
        account_id: whose item it is.
        mirrored: whether a mirror image is a copy.
        shows_something: whether a photo is no even surface, no darkness and no blur.
    Returns: whether it is in the pool now through this call.
    """
    lock_membership(connection, "pool")
    statistics = load_statistics(connection, [item_id]).get(item_id)
    if statistics is None or not shows_something(statistics) or not is_harvestable(connection, item_id, account_id):
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
    """Take out of the pool what was harvested from an account, and out of pool and evaluation set what it labelled.

    Each waits then for another person's word. Snapshots that hold it stay.

    Args: actor, who takes it back, for the record.
    Returns: how many items were taken out.
    """
    lock_membership(connection, "pool")
    is_in = items.c.split.is_not(None) & items.c.held_back.is_(None)
    harvested = (
        sa.select(items.c.id)
        .join(harvests)
        .where(is_in, items.c.label_origin == "harvested", harvests.c.account_id == account_id)
    )
    last_word = (
        sa.select(annotations.c.said_by)
        .where(annotations.c.item_id == items.c.id)
        .order_by(annotations.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    labelled = sa.select(items.c.id).where(
        is_in, items.c.label_origin.in_(HUMAN_ORIGINS), last_word == actor_name(account_id)
    )
    found = sorted({*connection.scalars(harvested), *connection.scalars(labelled)})
    return membership.suspend(connection, found, actor, account=account_id)


# Built once: nearly every new prediction asks it. A prediction of the item that somebody disputed keeps it out.
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
    """The group of an item, if it is harvestable."""
    return connection.execute(_FIND_GROUP, {"item_id": item_id}).scalar_one_or_none()


def _harvested_today(connection: sa.Connection, account_id: int | None) -> int:
    """Items of an account that were harvested within the last 24 hours."""
    since = sa.func.clock_timestamp() - sa.text("interval '24 hours'")
    is_current = items.c.held_back.is_distinct_from("superseded")  # each version of an item has the row of its harvest
    query = sa.select(sa.func.count()).select_from(harvests).join(items)
    query = query.where(harvests.c.account_id == account_id, harvests.c.harvested_at > since, is_current)
    found: int = connection.execute(query).scalar_one()
    return found
