"""Results (image, model version) -> full distribution, computed once; and the predictions that asked for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import predictions, results


@dataclass(frozen=True)
class Result:
    """What a model version says of an image: probabilities (classes,), in the order of the version's classes."""

    id: int
    probabilities: list[float]


def find_result(connection: sa.Connection, sha256: str, model_version: int) -> Result | None:
    """The stored result of one image, if it was ever computed."""
    query = sa.select(results.c.id, results.c.probabilities).where(
        results.c.image_sha256 == sha256, results.c.model_version == model_version
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Result(*row)


def save_result(connection: sa.Connection, sha256: str, model_version: int, probabilities: Sequence[float]) -> int:
    """Keep a result.

    Returns: its id; the id of the one that is there when another request was quicker.
    """
    save_results(connection, model_version, {sha256: np.asarray(probabilities)})
    query = sa.select(results.c.id).where(results.c.image_sha256 == sha256, results.c.model_version == model_version)
    result_id: int = connection.execute(query).scalar_one()
    return result_id


def save_results(connection: sa.Connection, model_version: int, distributions: Mapping[str, np.ndarray]) -> None:
    """Keep many results of one version; those that are there already stay.

    Args: distributions, hash -> probabilities (classes,).
    """
    rows = [
        {"image_sha256": sha256, "model_version": model_version, "probabilities": values.tolist()}
        for sha256, values in sorted(distributions.items())
    ]
    if rows:
        connection.execute(insert(results).on_conflict_do_nothing(), rows)


def load_results(connection: sa.Connection, model_version: int, sha256s: Sequence[str]) -> dict[str, np.ndarray]:
    """The stored distributions of some images: hash -> float32 (classes,); images not scored yet are missing."""
    query = sa.select(results.c.image_sha256, results.c.probabilities).where(
        results.c.image_sha256.in_(sha256s), results.c.model_version == model_version
    )
    return {sha256: np.asarray(values, dtype=np.float32) for sha256, values in connection.execute(query)}


def save_prediction(connection: sa.Connection, result_id: int, account_id: int | None, is_cached: bool) -> int:
    """Record one request for a result.

    Returns: the prediction's id, the one that feedback names.
    """
    prediction_id: int = connection.execute(
        sa.insert(predictions)
        .values(result_id=result_id, account_id=account_id, is_cached=is_cached)
        .returning(predictions.c.id)
    ).scalar_one()
    return prediction_id


def mean_top_confidence(connection: sa.Connection, count: int) -> float | None:
    """How sure the models were on average in the last predictions, 0 to 1; None before the first.

    Args: count, predictions to look at; those that there are, where there are fewer.
    """
    last = sa.select(predictions.c.result_id).order_by(predictions.c.id.desc()).limit(count).subquery()
    probability = sa.func.unnest(results.c.probabilities).column_valued("probability")
    best = sa.select(sa.func.max(probability)).correlate(results).scalar_subquery()
    mean = sa.select(sa.func.avg(best)).select_from(last.join(results, results.c.id == last.c.result_id))
    found: float | None = connection.execute(mean).scalar_one()
    return found
