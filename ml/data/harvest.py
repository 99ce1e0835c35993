"""Harvest: new images that the model is sure about go into the pool under the model's own label."""

from collections.abc import Callable

import sqlalchemy as sa

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.images.copy_index import ImageStatistics, load_statistics
from ml.catalog.images.image_records import is_only_predicted
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.locks import lock_membership
from ml.catalog.tables import feedback, harvests, images, labels, predictions, results
from ml.data import membership
from ml.data.copies.near_copies import copies_of
from ml.data.membership import find_obstacles

# Of one account. A forest walk has tens of photos; a script has thousands.
HARVESTED_PER_DAY = 50


def is_harvestable(connection: sa.Connection, sha256: str, account_id: int | None) -> bool:
    """Whether an image is only predicted so far, disputed by nobody, and its account has something left for today.

    Good for a first look without the membership lock.
    """
    return _find_group(connection, sha256) is not None and _harvested_today(connection, account_id) < HARVESTED_PER_DAY


def harvest(
    connection: sa.Connection,
    sha256: str,
    label: str,
    model_version: int,
    account_id: int | None,
    mirrored: bool,
    shows_something: Callable[[ImageStatistics], bool],
) -> bool:
    """Put an image into the pool under the label that a model version gave it, if it is still harvestable.

    A copy of any known image is not: models would learn one photo many times. An image that was never measured is not
    either (`ml.data.copies.near_copies.prepare_search` does).

    Args:
        account_id: whose image it is.
        mirrored: whether a mirror image is a copy.
        shows_something: whether a photo is no even surface, no darkness and no blur.
    Returns: whether it is in the pool now through this call.
    """
    lock_membership(connection, "pool")
    statistics = load_statistics(connection, [sha256]).get(sha256)
    if statistics is None or not shows_something(statistics) or not is_harvestable(connection, sha256, account_id):
        return False
    copies = copies_of(connection, sha256, mirrored)
    group_key = _find_group(connection, sha256) or sha256
    obstacles = find_obstacles(connection, "pool", sha256, group_key, copies)
    if copies.found or obstacles.blocking:
        return False
    membership.harvest(connection, sha256, label, model_version)
    row = {"image_sha256": sha256, "account_id": account_id, "model_version": model_version}
    connection.execute(sa.insert(harvests).values(row))
    return True


def take_back(connection: sa.Connection, account_id: int, actor: str) -> int:
    """Take out of the pool what was harvested from an account, and out of pool and evaluation set what it labelled.

    Each waits then for another person's word. Snapshots that hold it stay.

    Args: actor, who takes it back, for the record.
    Returns: how many images were taken out.
    """
    lock_membership(connection, "pool")
    is_in = images.c.split.is_not(None) & images.c.held_back.is_(None)
    harvested = (
        sa.select(images.c.sha256)
        .join(harvests)
        .where(is_in, images.c.label_origin == "harvested", harvests.c.account_id == account_id)
    )
    last_word = (
        sa.select(labels.c.said_by)
        .where(labels.c.image_sha256 == images.c.sha256)
        .order_by(labels.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    labelled = sa.select(images.c.sha256).where(
        is_in, images.c.label_origin.in_(HUMAN_ORIGINS), last_word == actor_name(account_id)
    )
    found = sorted({*connection.scalars(harvested), *connection.scalars(labelled)})
    return membership.suspend(connection, found, actor, account=account_id)


# Built once: nearly every new prediction asks it. A prediction of the image that somebody disputed keeps it out.
_FIND_GROUP = sa.select(images.c.group_key).where(
    images.c.sha256 == sa.bindparam("sha256"),
    is_only_predicted(),
    ~sa.exists().where(
        feedback.c.verdict == "nok",
        feedback.c.prediction_id == predictions.c.id,
        predictions.c.result_id == results.c.id,
        results.c.image_sha256 == sa.bindparam("sha256"),
    ),
)


def _find_group(connection: sa.Connection, sha256: str) -> str | None:
    """The group of an image, if it is harvestable."""
    return connection.execute(_FIND_GROUP, {"sha256": sha256}).scalar_one_or_none()


def _harvested_today(connection: sa.Connection, account_id: int | None) -> int:
    """Images of an account that were harvested within the last 24 hours."""
    since = sa.func.clock_timestamp() - sa.text("interval '24 hours'")
    query = sa.select(sa.func.count()).where(harvests.c.account_id == account_id, harvests.c.harvested_at > since)
    found: int = connection.execute(query).scalar_one()
    return found
