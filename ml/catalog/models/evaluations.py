"""Evaluations: one row per scoring of a model version on one part of the evaluation set; and the nightly check."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml.catalog.images.label_origins import NewImages
from ml.catalog.tables import evaluations, monitorings
from ml.figures import title_of


@dataclass(frozen=True)
class Shortfall:
    """A figure that is below its floor; `ml.evaluation.floor` decides. As a string, a sentence.

    Args:
        label: the class whose figure it is; None for the main figure over all classes.
        value, floor: 0 to 1.
        figure: its name.
    """

    label: str | None
    value: float
    floor: float
    figure: str = "accuracy"

    def __str__(self) -> str:
        of, whose = ("", "the") if self.label is None else (f" of {self.label}", "its")
        return f"{title_of(self.figure)} {self.value:.1%}{of} is below {whose} floor of {self.floor:.1%}."


@dataclass(frozen=True)
class Evaluation:
    """Figures of one part of the evaluation set; shares between 0 and 1.

    Args:
        main_figure: the task's, which the floor applies to; the accuracy of classification.
        accuracy, precision_macro, recall_macro, f1_macro: None where the task has none.
        per_class: label -> {image_count, precision, recall, f1}.
        confusion: rows are true labels, columns predicted; None where an item may have several.
        shortfalls: what is below its floor.
        figures: the task's other shares, by name.
    """

    model_version: int
    evaluation_set_version: int
    part: str
    is_deciding: bool
    image_count: int
    main_figure: float
    accuracy: float | None
    precision_macro: float | None
    recall_macro: float | None
    f1_macro: float | None
    per_class: Mapping[str, Mapping[str, float]]
    confusion: Sequence[Sequence[int]] | None
    shortfalls: Sequence[Shortfall]
    figures: Mapping[str, float] = field(default_factory=dict)


def read_shortfalls(stored: Sequence[Mapping[str, Any]]) -> list[Shortfall]:
    """What a column `shortfalls` holds."""
    return [Shortfall(**each) for each in stored]


def save_evaluation(connection: sa.Connection, evaluation: Evaluation) -> None:
    """Add an evaluation. Repeating one adds a row: it says that the figures still held at that time."""
    connection.execute(sa.insert(evaluations).values(asdict(evaluation)))


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
    return None if row is None else Evaluation(**{**row._mapping, "shortfalls": read_shortfalls(row.shortfalls)})


def latest_main_figures(connection: sa.Connection) -> dict[int, tuple[float, datetime]]:
    """The latest deciding figure of each version, and when it was measured."""
    query = (
        sa.select(evaluations.c.model_version, evaluations.c.main_figure, evaluations.c.evaluated_at)
        .distinct(evaluations.c.model_version)
        .where(evaluations.c.is_deciding)
        .order_by(evaluations.c.model_version, evaluations.c.evaluated_at.desc())
    )
    return {version: (figure, at) for version, figure, at in connection.execute(query)}


def save_monitoring(
    connection: sa.Connection,
    model_version: int,
    evaluation_set_version: int,
    main_figure: float,
    shortfalls: Sequence[Shortfall],
    new_images: NewImages,
    reasons: Sequence[str],
    figures: Mapping[str, float],
) -> None:
    """Add one night's check; retraining was requested when there are reasons.

    Args: figures, those of ml.figures.NIGHTLY by name.
    """
    connection.execute(
        sa.insert(monitorings).values(
            model_version=model_version,
            evaluation_set_version=evaluation_set_version,
            main_figure=main_figure,
            shortfalls=[asdict(each) for each in shortfalls],
            new_images_human=new_images.human,
            new_images_harvested=new_images.harvested,
            is_retraining_requested=bool(reasons),
            reasons=list(reasons),
            figures=dict(figures),
        )
    )


def find_figures(
    connection: sa.Connection, model_version: int, evaluation_set_version: int | None = None
) -> dict[str, float]:
    """The figures of the latest check of a version, on one version of the evaluation set where that is given.

    Returns: name -> value; empty without such a check.
    """
    query = sa.select(monitorings.c.figures).where(monitorings.c.model_version == model_version)
    if evaluation_set_version is not None:
        query = query.where(monitorings.c.evaluation_set_version == evaluation_set_version)
    return connection.execute(query.order_by(monitorings.c.id.desc()).limit(1)).scalar() or {}


def below_floor_since(connection: sa.Connection, model_version: int, label: str | None) -> int | None:
    """Since which nightly check, without a break, this version is in production and a figure of it below its floor.

    Args: label, of a class; None for the main figure over all.
    Returns: the check's id; None where the latest one found something else.
    """
    is_below = (monitorings.c.model_version == model_version) & monitorings.c.shortfalls.contains([{"label": label}])
    last_other = sa.select(sa.func.max(monitorings.c.id)).where(sa.not_(is_below)).scalar_subquery()
    since = sa.select(sa.func.min(monitorings.c.id)).where(monitorings.c.id > sa.func.coalesce(last_other, 0))
    found: int | None = connection.execute(since).scalar_one()
    return found
