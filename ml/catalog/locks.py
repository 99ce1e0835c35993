"""All locks of the catalog. They are advisory locks of PostgreSQL, and each has a number.

There are two kinds. A function that takes a connection locks until its transaction ends: use it to read and write rows.
A `Lock` belongs to a session, and `Catalog.lock` holds it without a transaction: use it for long work, such as
computing or requests to MLflow, because a long open transaction stops PostgreSQL's vacuum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

_POOL = 0x706F6F6C  # "pool": shared by transactions that write to the pool, exclusive while a snapshot is created
_MEMBERSHIP = 0x67726F75  # "grou": only one transaction at a time assigns items to splits
_MIGRATION = 0x6D79636F  # "myco": only one process migrates at a time


@dataclass(frozen=True)
class Lock:
    """A lock that one session at a time holds. key: one or two arguments for PostgreSQL's lock functions."""

    key: Sequence[sa.ColumnElement[Any] | int]


PROMOTION = Lock([0x70726F6D])  # "prom": only its holder moves the champion alias
DELIVERY = Lock([0x616C6572])  # "aler": only its holder sends alerts
UPKEEP = Lock([0x686F7573])  # "hous": only its holder purges or writes a backup
RESTORE = Lock([0x72657374])  # "rest": only its holder restores a backup into this database; migrations share it
_BACKBONE = 0x6261636B  # "back", the first key of a recipe's lock
_BATCH = 0x62617463  # "batc", the first key of a prediction batch's lock


def recipe_lock(recipe: str) -> Lock:
    """Return the lock of a recipe: only its holder builds the backbone of this recipe."""
    return Lock([_BACKBONE, sa.func.hashtext(recipe)])


def batch_lock(batch_id: int) -> Lock:
    """Return the lock of a prediction batch: only its holder makes the predictions of this batch."""
    return Lock([_BATCH, batch_id])


def image_lock(sha256: str) -> Lock:
    """Return the lock of an image: only its holder computes an answer for this image, or erases it."""
    return Lock([sa.func.hashtextextended(sha256, 0)])


def claim_locks(session: sa.Connection, texts: Sequence[str]) -> set[str]:
    """Lock each text that no other session has locked, until `release_claims`.

    Args: session, a connection in autocommit mode; texts, the function locks their hashes.
    Returns: the texts that this session locked.
    """
    text = _column_of(texts)
    return set(session.scalars(sa.select(text).where(sa.func.pg_try_advisory_lock(_hash(text)))))


def release_claims(session: sa.Connection, texts: Sequence[str]) -> None:
    """Unlock the texts that `claim_locks` locked."""
    session.execute(sa.select(sa.func.pg_advisory_unlock(_hash(_column_of(texts)))))


def lock_pool_for_writing(connection: sa.Connection) -> None:
    """Wait until no snapshot is being created, and block new ones until this transaction ends. Writers share it."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(_POOL)))


def lock_pool_for_snapshot(connection: sa.Connection) -> datetime:
    """Block all writes to the pool until this transaction ends.

    Returns: the cutoff, which is the database's time after the lock was taken. All items now in the pool entered before
        it, and all later items will enter after it.
    """
    _lock(connection, _POOL)
    cutoff: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return cutoff


def lock_membership(connection: sa.Connection, split: Literal["pool", "evaluation"]) -> None:
    """Block all other changes of splits until this transaction ends.

    The code checks for copies in the other split before it writes. That is safe only with one writer at a time.
    """
    if split == "pool":
        lock_pool_for_writing(connection)
    _lock(connection, _MEMBERSHIP)


def lock_migrations(connection: sa.Connection) -> None:
    """Block all other migrations until this transaction ends."""
    _lock(connection, _MIGRATION)


def try_share_restore(connection: sa.Connection) -> bool:
    """Block restores into this database until this transaction ends. Return False if one is running."""
    return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock_shared(*RESTORE.key))))


def _lock(connection: sa.Connection, key: int) -> None:
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _column_of(texts: Sequence[str]) -> sa.Column[str]:
    return sa.func.unnest(sa.cast(list(texts), sa.ARRAY(sa.Text))).column_valued("text")  # type: ignore[return-value]


def _hash(text: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
    return sa.func.hashtextextended(text, 0)
