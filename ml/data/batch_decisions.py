"""What an admin makes of batches that wait: all that still waits of them is certified, or excluded."""

from collections.abc import Sequence

import sqlalchemy as sa

from ml.catalog.images.batches import find_waiting, load_batch
from ml.catalog.locks import hold_membership
from ml.data.data_changes import Action, Change, apply_changes


def decide_batches(connection: sa.Connection, batch_ids: Sequence[int], action: Action, actor: str) -> int:
    """Certify or exclude all that still waits of some batches: of all of them or, after an error, of none.

    Args: actor, who decides, for the record.
    Returns: how many images.
    Raises: UnknownBatchError.
    """
    hold_membership(connection, "pool")  # before looking: another admin may be deciding the same images
    for batch_id in batch_ids:
        load_batch(connection, batch_id)
    changes = [Change(action, sha256) for sha256 in find_waiting(connection, batch_ids)]
    return len(apply_changes(connection, changes, actor))
