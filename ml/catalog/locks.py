"""Every lock of the catalog: advisory locks of PostgreSQL, by the number that stands for each.

There are two kinds. A function here that takes a connection locks until that transaction ends: for reading and writing
rows. A `Lock` belongs to a session: `Catalog.lock` holds it in no transaction, for what takes long, such as computing
or asking MLflow. A transaction left open meanwhile would keep PostgreSQL from cleaning up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

_POOL = 0x706F6F6C  # "pool": writers share it, a snapshot being pinned has it alone
_MEMBERSHIP = 0x67726F75  # "grou": who belongs to which split is decided by one transaction at a time
_MIGRATION = 0x6D79636F  # "myco": two processes never migrate at once


@dataclass(frozen=True)
class Lock:
    """A lock that one session at a time holds. key: the arguments of PostgreSQL's functions, one or two."""

    key: Sequence[sa.ColumnElement[Any] | int]


PROMOTION = Lock([0x70726F6D])  # "prom": only its holder moves the alias
DELIVERY = Lock([0x616C6572])  # "aler": only its holder sends alerts
HOUSE = Lock([0x686F7573])  # "hous": only its holder purges or backs up
_BACKBONE = 0x6261636B  # "back", and the hash of a recipe


def recipe_lock(recipe: str) -> Lock:
    """Only the holder makes the backbone of this recipe."""
    return Lock([_BACKBONE, sa.func.hashtext(recipe)])


def result_lock(sha256: str, model_version: int) -> Lock:
    """Only the holder computes what this version says of this image."""
    return Lock([sa.func.hashtext(sha256), model_version])


def claim_locks(session: sa.Connection, texts: Sequence[str]) -> set[str]:
    """Lock the hashes of texts that nobody else has locked, until `release_claims`. Give a session in autocommit.

    Returns: those that are this session's now.
    """
    text = _column_of(texts)
    return set(session.scalars(sa.select(text).where(sa.func.pg_try_advisory_lock(_hash(text)))))


def release_claims(session: sa.Connection, texts: Sequence[str]) -> None:
    """Unlock what `claim_locks` locked."""
    session.execute(sa.select(sa.func.pg_advisory_unlock(_hash(_column_of(texts)))))


def lock_pool_for_writing(connection: sa.Connection) -> None:
    """Wait for a snapshot being pinned, and keep the next one out until this transaction ends. Writers share it."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(_POOL)))


def lock_pool_for_snapshot(connection: sa.Connection) -> datetime:
    """Keep pool writes out until this transaction ends.

    Returns: the database's clock once they are out: whatever is in the pool entered before it, whatever comes later
        enters after it.
    """
    _lock(connection, _POOL)
    cutoff: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return cutoff


def lock_membership(connection: sa.Connection, split: Literal["pool", "evaluation"]) -> None:
    """Let nobody else change who belongs to which split until this transaction ends.

    Pool and evaluation set are kept apart by looking before writing, which is safe only for one writer at a time.
    """
    if split == "pool":
        lock_pool_for_writing(connection)
    _lock(connection, _MEMBERSHIP)


def lock_migrations(connection: sa.Connection) -> None:
    """Be the only one that migrates until this transaction ends."""
    _lock(connection, _MIGRATION)


def _lock(connection: sa.Connection, key: int) -> None:
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _column_of(texts: Sequence[str]) -> sa.Column[str]:
    return sa.func.unnest(sa.cast(list(texts), sa.ARRAY(sa.Text))).column_valued("text")  # type: ignore[return-value]


def _hash(text: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
    return sa.func.hashtextextended(text, 0)
