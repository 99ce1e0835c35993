"""Every lock of the catalog: advisory locks of PostgreSQL, by the number that stands for each.

A lock ends with the transaction that took it, but for HOUSE. Workers claim images to compute features of by a key per
image and backbone besides: see `feature_vectors.claim_images`.
"""

from datetime import datetime
from typing import Literal

import sqlalchemy as sa

POOL = 0x706F6F6C  # "pool": writers share it, a snapshot being pinned has it alone
MEMBERSHIP = 0x67726F75  # "grou": who belongs to which split is decided by one transaction at a time
PROMOTION = 0x70726F6D  # "prom"
BACKBONE = 0x6261636B  # "back", and the hash of a recipe
DELIVERY = 0x616C6572  # "aler"
MIGRATION = 0x6D79636F  # "myco": two processes never migrate at once
HOUSE = 0x686F7573  # "hous": held over many transactions; see ml.upkeep.forgetting


def lock_pool_for_writing(connection: sa.Connection) -> None:
    """Wait for a snapshot being pinned, and keep the next one out until this transaction ends. Writers share it."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(POOL)))


def lock_pool_for_snapshot(connection: sa.Connection) -> datetime:
    """Keep pool writes out until this transaction ends.

    Returns: the database's clock once they are out: whatever is in the pool entered before it, whatever comes later
        enters after it.
    """
    _lock(connection, POOL)
    cutoff: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return cutoff


def lock_membership(connection: sa.Connection, split: Literal["pool", "evaluation"]) -> None:
    """Let nobody else change who belongs to which split until this transaction ends.

    Pool and evaluation set are kept apart by looking before writing, which is safe only for one writer at a time.
    """
    if split == "pool":
        lock_pool_for_writing(connection)
    _lock(connection, MEMBERSHIP)


def lock_promotions(connection: sa.Connection) -> None:
    """Be the only one that moves the alias until this transaction ends."""
    _lock(connection, PROMOTION)


def lock_recipe(connection: sa.Connection, recipe: str) -> None:
    """Be the only one that makes the backbone of this recipe until this transaction ends."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(BACKBONE, sa.func.hashtext(recipe))))


def try_to_lock_delivery(connection: sa.Connection) -> bool:
    """Be the only one that sends until this transaction ends.

    Returns: False where somebody else is sending now.
    """
    held: bool = connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(DELIVERY))).scalar_one()
    return held


def lock_migrations(connection: sa.Connection) -> None:
    """Be the only one that migrates until this transaction ends."""
    _lock(connection, MIGRATION)


def _lock(connection: sa.Connection, key: int) -> None:
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
