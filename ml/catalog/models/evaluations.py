"""Evaluations: one row per scoring of a model version on one part of the evaluation set; and the nightly check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ml.catalog.images.label_origins import NewImages
from ml.catalog.tables import evaluations, monitorings


@dataclass(frozen=True)
class Evaluation:
    """Figures of one part of the evaluation set; shares between 0 and 1.

    per_class: label -> {image_count, precision, recall, f1}. confusion: rows are true labels, columns predicted.
    """

    model_version: int
    evaluation_set_version: int
    part: str
    is_deciding: bool
    image_count: int
    accuracy: float
    precision_macro: float
    recall_macro: float
    f1_macro: float
    per_class: Mapping[str, Mapping[str, float]]
    confusion: Sequence[Sequence[int]]


def save_evaluation(connection: sa.Connection, evaluation: Evaluation) -> None:
    """Add an evaluation. Repeating one adds a row: it says that the figures still held at that time."""
    values = {name: getattr(evaluation, name) for name in Evaluation.__dataclass_fields__}
    connection.execute(sa.insert(evaluations).values(**values))


def latest_evaluation(
    connection: sa.Connection, model_version: int, evaluation_set_version: int | None = None
) -> Evaluation | None:
    """The latest deciding figures of a version, on one version of the evaluation set where that is given."""
    query = (
        sa.select(*(evaluations.c[name] for name in Evaluation.__dataclass_fields__))
        .where(evaluations.c.model_version == model_version, evaluations.c.is_deciding)
        .order_by(evaluations.c.id.desc())
        .limit(1)
    )
    if evaluation_set_version is not None:
        query = query.where(evaluations.c.evaluation_set_version == evaluation_set_version)
    row = connection.execute(query).one_or_none()
    return None if row is None else Evaluation(*row)


def latest_accuracies(connection: sa.Connection) -> dict[int, tuple[float, datetime]]:
    """The latest deciding accuracy of each version, and when it was measured."""
    query = (
        sa.select(evaluations.c.model_version, evaluations.c.accuracy, evaluations.c.evaluated_at)
        .distinct(evaluations.c.model_version)
        .where(evaluations.c.is_deciding)
        .order_by(evaluations.c.model_version, evaluations.c.evaluated_at.desc())
    )
    return {version: (accuracy, at) for version, accuracy, at in connection.execute(query)}


def save_monitoring(
    connection: sa.Connection,
    model_version: int,
    evaluation_set_version: int,
    accuracy: float,
    new_images: NewImages,
    reasons: Sequence[str],
) -> None:
    """Add one night's check; retraining was requested when there are reasons."""
    connection.execute(
        sa.insert(monitorings).values(
            model_version=model_version,
            evaluation_set_version=evaluation_set_version,
            accuracy=accuracy,
            new_images_human=new_images.human,
            new_images_harvested=new_images.harvested,
            is_retraining_requested=bool(reasons),
            reasons=list(reasons),
        )
    )


def below_floor_since(connection: sa.Connection, model_version: int, floor: float) -> int | None:
    """Since which nightly check, without a break, the model in production is this one and below the floor.

    Returns: the check's id; None where the latest one found something else.
    """
    is_below = (monitorings.c.model_version == model_version) & (monitorings.c.accuracy < floor)
    last_other = sa.select(sa.func.max(monitorings.c.id)).where(sa.not_(is_below)).scalar_subquery()
    since = sa.select(sa.func.min(monitorings.c.id)).where(monitorings.c.id > sa.func.coalesce(last_other, 0))
    found: int | None = connection.execute(since).scalar_one()
    return found
