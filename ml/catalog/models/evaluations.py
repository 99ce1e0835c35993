"""Evaluations, one row per scoring of a model version on one part of the evaluation set, and nightly checks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from ml.catalog.images.label_origins import NewImages
from ml.catalog.tables import evaluations, monitorings
from ml.figures import title_of


@dataclass(frozen=True)
class Shortfall:
    """A figure below its floor, found by `ml.evaluation.floor`. `str()` gives a sentence.

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
    """A version's figures on one part of the evaluation set, each between 0 and 1.

    Args:
        main_figure: the task's figure that the floor applies to; accuracy in classification.
        accuracy, precision_macro, recall_macro, f1_macro: None if the task does not have the figure.
        per_class: label -> {image_count, precision, recall, f1}.
        confusion: rows are true labels, columns are predicted labels; None if an item may have several labels.
        shortfalls: the figures below their floor.
        figures: other figures of the task, name -> value.
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
    """Read the value of a column `shortfalls`."""
    return [Shortfall(**each) for each in stored]


def save_evaluation(connection: sa.Connection, evaluation: Evaluation) -> None:
    """Add an evaluation. A repeated evaluation adds a row too, which shows that the figures had not changed."""
    connection.execute(sa.insert(evaluations).values(asdict(evaluation)))


def latest_evaluation(
    connection: sa.Connection, model_version: int, evaluation_set_version: int | None = None
) -> Evaluation | None:
    """Return the latest deciding evaluation of a version, or None.

    Args: evaluation_set_version, accept only evaluations on this version of the evaluation set.
    """
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


@dataclass(frozen=True)
class MainFigure:
    """The main figure of a version's latest deciding evaluation, 0 to 1, with the number of images behind it."""

    value: float
    image_count: int


def latest_main_figures(connection: sa.Connection) -> dict[int, MainFigure]:
    """Return the main figure of each version's latest deciding evaluation."""
    table = evaluations.c
    query = (
        sa.select(table.model_version, table.main_figure, table.image_count)
        .distinct(evaluations.c.model_version)
        .where(evaluations.c.is_deciding)
        .order_by(evaluations.c.model_version, evaluations.c.evaluated_at.desc())
    )
    return {version: MainFigure(*figure) for version, *figure in connection.execute(query)}


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
    """Add one night's check.

    Args:
        reasons: why retraining is requested; empty if it is not.
        figures: of ml.figures.NIGHTLY, name -> value.
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
    """Return the figures of a version's latest nightly check.

    Args: evaluation_set_version, accept only checks on this version of the evaluation set.
    Returns: name -> value; empty without a check.
    """
    query = sa.select(monitorings.c.figures).where(monitorings.c.model_version == model_version)
    if evaluation_set_version is not None:
        query = query.where(monitorings.c.evaluation_set_version == evaluation_set_version)
    return connection.execute(query.order_by(monitorings.c.id.desc()).limit(1)).scalar() or {}


def below_floor_since(connection: sa.Connection, model_version: int, label: str | None) -> int | None:
    """Find the first of the latest consecutive nightly checks that found this version's figure below its floor.

    Args: label, of the class whose recall is meant; None for the main figure.
    Returns: that check's id; None if the latest check was of another version or found no such shortfall.
    """
    is_below = (monitorings.c.model_version == model_version) & monitorings.c.shortfalls.contains([{"label": label}])
    last_other = sa.select(sa.func.max(monitorings.c.id)).where(sa.not_(is_below)).scalar_subquery()
    since = sa.select(sa.func.min(monitorings.c.id)).where(monitorings.c.id > sa.func.coalesce(last_other, 0))
    found: int | None = connection.execute(since).scalar_one()
    return found
