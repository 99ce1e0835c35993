"""Results, which are stored answers by item and model version, and predictions, which are requests for a result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.answers import Answer
from ml.catalog.items.item_records import is_not_erased, is_only_predicted
from ml.catalog.tables import items, predictions, results


@dataclass(frozen=True)
class Result:
    """A model version's stored answer for an item.

    Args: is_only_predicted, the item has no split and no annotation, and is not held back.
    """

    id: int
    answer: Answer
    is_only_predicted: bool


# Built once, because every prediction runs these.
_ONE_RESULT = (results.c.item_id == sa.bindparam("item_id")) & (
    results.c.model_version == sa.bindparam("model_version")
)
_ANSWER = (
    results.c.top_class,
    results.c.confidence,
    results.c.margin,
    results.c.probabilities,
    results.c.novelty,
    results.c.answer,
)
# The lock keeps a purge and an erasure from deleting the item before the transaction ends.
_FIND_RESULT = (
    sa.select(results.c.id, is_only_predicted(), *_ANSWER)
    .join(items)
    .where(_ONE_RESULT, is_not_erased())
    .with_for_update(read=True, key_share=True, of=items)
)
_FIND_ID = sa.select(results.c.id).where(_ONE_RESULT)
_SAVE_RESULT = insert(results).on_conflict_do_nothing().returning(results.c.id)
_SAVE_PREDICTION = sa.insert(predictions).returning(predictions.c.id)


def find_result(connection: sa.Connection, item_id: str, model_version: int) -> Result | None:
    """Return the stored result of one item, or None. The item then stays until this transaction ends."""
    row = connection.execute(_FIND_RESULT, {"item_id": item_id, "model_version": model_version}).one_or_none()
    return None if row is None else Result(row[0], read_answer(*row[2:]), row[1])


class SavedResult(NamedTuple):
    """The id of a stored result. is_new: this call stored it; False if another request stored it first."""

    id: int
    is_new: bool


def save_result(connection: sa.Connection, item_id: str, model_version: int, answer: Answer) -> SavedResult:
    """Store a result, unless there is one already."""
    values = _row(item_id, model_version, answer)
    saved: int | None = connection.execute(_SAVE_RESULT, values).scalar_one_or_none()
    if saved is not None:
        return SavedResult(saved, is_new=True)
    known: int = connection.execute(_FIND_ID, {"item_id": item_id, "model_version": model_version}).scalar_one()
    return SavedResult(known, is_new=False)


def save_results(connection: sa.Connection, model_version: int, answers: Mapping[str, Answer]) -> None:
    """Store many results of one version. Results that are stored already do not change.

    Args: answers, item id -> answer.
    """
    rows = [_row(item_id, model_version, answer) for item_id, answer in sorted(answers.items())]
    if rows:
        connection.execute(insert(results).on_conflict_do_nothing(), rows)


def load_results(connection: sa.Connection, model_version: int, item_ids: Sequence[str]) -> dict[str, Answer]:
    """Return the stored answers for some items, by item id, without items that are not scored yet."""
    query = sa.select(results.c.item_id, *_ANSWER).where(
        results.c.item_id.in_(item_ids), results.c.model_version == model_version
    )
    return {row[0]: read_answer(*row[1:]) for row in connection.execute(query)}


def _row(item_id: str, model_version: int, answer: Answer) -> dict[str, object]:
    return {
        "item_id": item_id,
        "model_version": model_version,
        "probabilities": answer.probabilities.tolist(),
        "top_class": answer.top_class,
        "confidence": answer.confidence,
        "margin": answer.margin,
        "novelty": answer.novelty,
        "answer": answer.detail,
    }


def read_answer(
    top_class: str | None,
    confidence: float,
    margin: float,
    probabilities: list[float],
    novelty: float | None,
    detail: dict[str, object] | None,
) -> Answer:
    """Return the answer that a row holds. Args: its columns, as they are stored."""
    return Answer(top_class, confidence, margin, np.asarray(probabilities, np.float32), novelty, detail)


def save_prediction(connection: sa.Connection, result_id: int, account_id: int | None, is_cached: bool) -> int:
    """Record one request for a result.

    Returns: the prediction's id, which feedback refers to.
    """
    values = {"result_id": result_id, "account_id": account_id, "is_cached": is_cached}
    prediction_id: int = connection.execute(_SAVE_PREDICTION, values).scalar_one()
    return prediction_id
