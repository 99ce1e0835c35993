"""The cross-fitted answers of a training: for each item of its snapshot, by a head fitted without the item's group."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from ml.catalog.locks import lock_membership
from ml.catalog.tables import attempts, cross_fitted_answers, review_entries


class Suspicion(NamedTuple):
    """A label that an answer contradicts. Args: suspected_class, what it may be; doubt, how sure that is, 0 to 1."""

    suspected_class: str
    doubt: float


def save_cross_fitted(connection: sa.Connection, attempt_id: int, answers: Mapping[str, np.ndarray]) -> None:
    """Store the answers of an attempt. They replace those of a former try of the same attempt.

    Args: answers, item id -> probabilities (number of classes,) in the order of the snapshot's classes.
    """
    connection.execute(sa.delete(cross_fitted_answers).where(cross_fitted_answers.c.attempt_id == attempt_id))
    rows = [
        {"attempt_id": attempt_id, "item_id": item_id, "probabilities": probabilities.tolist()}
        for item_id, probabilities in sorted(answers.items())
    ]
    if rows:
        connection.execute(sa.insert(cross_fitted_answers), rows)


def load_cross_fitted_of_version(
    connection: sa.Connection, model_version: int, item_ids: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the stored answers of the training of a version to some items, as load_cross_fitted."""
    query = (
        sa.select(cross_fitted_answers.c.item_id, cross_fitted_answers.c.probabilities)
        .join(attempts, attempts.c.id == cross_fitted_answers.c.attempt_id)
        .where(attempts.c.model_version == model_version, cross_fitted_answers.c.item_id.in_(item_ids))
    )
    return {item_id: np.asarray(row, np.float32) for item_id, row in connection.execute(query)}


def load_cross_fitted(connection: sa.Connection, attempt_id: int) -> dict[str, np.ndarray]:
    """Return the stored answers of an attempt: item id -> float32 (number of classes,). Empty if there are none."""
    query = sa.select(cross_fitted_answers.c.item_id, cross_fitted_answers.c.probabilities)
    rows = connection.execute(query.where(cross_fitted_answers.c.attempt_id == attempt_id))
    return {item_id: np.asarray(probabilities, np.float32) for item_id, probabilities in rows}


def mark_suspected(connection: sa.Connection, attempt_id: int, suspicions: Mapping[str, Suspicion]) -> None:
    """Mark the suspected labels of an attempt, in place of those of a former call, and let a reviewer see them.

    Args: suspicions, by item id.
    """
    lock_membership(connection, "pool")  # as every change of the queues
    of_attempt = sa.update(cross_fitted_answers).where(cross_fitted_answers.c.attempt_id == attempt_id)
    connection.execute(of_attempt.values(suspected_class=None, doubt=None))
    if suspicions:
        columns = (sa.column("item_id", sa.Text), sa.column("suspected_class", sa.Text), sa.column("doubt", sa.Float))
        marks = sa.values(*columns, name="marks").data([(item_id, *each) for item_id, each in suspicions.items()])
        values = {"suspected_class": marks.c.suspected_class, "doubt": marks.c.doubt}
        connection.execute(of_attempt.where(cross_fitted_answers.c.item_id == marks.c.item_id).values(values))
    former = connection.scalars(sa.select(review_entries.c.item_id).where(review_entries.c.queue == "suspected"))
    changed = sorted({*former, *suspicions})
    connection.execute(sa.select(sa.func.training.refresh_review_entries(sa.cast(changed, ARRAY(sa.Text)))))
