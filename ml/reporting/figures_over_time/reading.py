"""Read the figures over time that the dashboard draws. PostgreSQL aggregates them, from typed columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.daily_arrivals import entered_by_day
from ml.catalog.tables import class_recalls, drift_checks, evaluations, monitorings, promotions
from ml.confidence.estimation import share_of
from ml.reporting.figures_over_time import figure_queries
from ml.reporting.figures_over_time.spans import Span
from ml.settings import Settings
from ml.tasks.registered_tasks import find_task


@dataclass(frozen=True)
class Table:
    """Figures over time. Args: at, oldest first; columns, name -> a value for each time."""

    at: Sequence[datetime]
    columns: Mapping[str, Sequence[Any]]  # numbers or texts, or None


@dataclass(frozen=True)
class Moved:
    """A move of the alias. Args: kind, promotion, rollback or external; version, the new one."""

    at: datetime
    kind: str
    version: int | None


@dataclass(frozen=True)
class ClassInPool:
    """A class and the number of its images in the pool, by who labelled them."""

    name: str
    human: int
    harvested: int

    @property
    def total(self) -> int:
        return self.human + self.harvested


@dataclass(frozen=True)
class FiguresOverTime:
    """All that is drawn.

    Args:
        accuracy: the main figure on the deciding part with its 95 % interval (low, high), number of images, version,
            and `below`, the same figure where it was below its floor.
        recall: the same of the chosen class; None if none is chosen.
        new_images: at each nightly check, since the champion's snapshot, by who labelled them.
        arrivals: by day, label origin -> images that entered the pool.
        confidence: by day, percentiles of the answers' confidence, and the number of answers.
        calibration, drift, estimates: as ml.figures explains them.
        feedback: by day, ok and nok.
        balance: all classes of the pool, by name.
    """

    accuracy: Table
    recall: Table | None
    new_images: Table
    arrivals: Table
    confidence: Table
    calibration: Table
    drift: Table
    estimates: Table
    feedback: Table
    moves: Sequence[Moved]


def read_figures(catalog: Catalog, settings: Settings, span: Span, class_name: str | None) -> FiguresOverTime:
    """Read the figures of some days.

    Args: class_name, read arrivals, confidence and feedback of this class only, and its recall; None for all classes.
    Raises: DatabaseUnavailableError, TimeOverError.
    """
    period, day = span.contains, span.start_of_day
    drift, nights = drift_checks.c, monitorings.c
    with catalog.begin() as connection:
        accuracy = _read(connection, _accuracy(span))
        recall = None if class_name is None else _read(connection, _recall(span, class_name))
        checks = _read(
            connection,
            figure_queries.checks_over_time(
                period,
                nights.new_images_human.label("human"),
                nights.new_images_harvested.label("harvested"),
                *(_short(nights[name]) for name in _CALIBRATION),
            ),
        )
        drifts = _read(
            connection,
            figure_queries.drift_over_time(
                period,
                *(_short(drift[name]) for name in (*_DRIFT, *_ESTIMATES)),
                sa.func.array_to_string(drift.moved, " ").label("moved"),
            ),
        )
        arrivals = _pivot(connection, entered_by_day(period, day, class_name), ("curated", "confirmed", "harvested"))
        feedback = _pivot(connection, figure_queries.feedback_by_day(period, day, class_name), ("ok", "nok"))
        confidence = _read(connection, figure_queries.confidence_by_day(period, day, class_name))
        moves = [Moved(*row) for row in connection.execute(_moves(span))]
    has_interval = find_task(settings.task).counts_right_answers
    return FiguresOverTime(
        accuracy=_with_interval(accuracy, has_interval),
        recall=None if recall is None else _with_interval(recall, has_interval=True),
        new_images=_choose(checks, ("human", "harvested")),
        arrivals=arrivals,
        confidence=confidence,
        calibration=_choose(checks, _CALIBRATION),
        drift=_choose(drifts, (*_DRIFT, "moved")),
        estimates=_choose(drifts, _ESTIMATES),
        feedback=feedback,
        moves=moves,
    )


def read_balance(catalog: Catalog) -> list[ClassInPool]:
    """Return each class of the pool with its number of images, sorted by name."""
    with catalog.begin() as connection:
        return [ClassInPool(*row) for row in connection.execute(figure_queries.pool_by_class())]


_CALIBRATION = ("calibration_error", "calibration_error_low", "calibration_error_high")
_DRIFT = ("confidence_psi", "class_psi", "confidence_ks", "feature_mmd", "novel_share")
_ESTIMATES = ("estimated_accuracy", "observed_accuracy", "observed_accuracy_low", "observed_accuracy_high")


def _accuracy(span: Span) -> sa.Select[Any]:
    figure = evaluations.c.main_figure
    return figure_queries.evaluations_over_time(
        span.contains,
        figure.label("value"),
        sa.case((evaluations.c.shortfalls.contains([{"label": None}]), figure)).label("below"),
        evaluations.c.image_count.label("images"),
        evaluations.c.model_version.label("version"),
    ).where(evaluations.c.is_deciding)


def _recall(span: Span, class_name: str) -> sa.Select[Any]:
    return figure_queries.recalls_over_time(
        span.contains,
        class_recalls.c.recall.label("value"),
        class_recalls.c.image_count.label("images"),
        class_recalls.c.model_version.label("version"),
    ).where(class_recalls.c.class_name == class_name)


def _moves(span: Span) -> sa.Select[Any]:
    return figure_queries.moves_over_time(span.contains, promotions.c.kind, promotions.c.to_version)


def _short(column: sa.Column[float]) -> sa.ColumnElement[float]:
    """Return a column with six digits: more are not drawn, and take more time to send."""
    return sa.cast(column, sa.REAL).label(column.name)


def _read(connection: sa.Connection, query: sa.Select[Any]) -> Table:
    """Run a query whose first column is the time."""
    result = connection.execute(query)
    _time, *names = result.keys()
    columns = list(zip(*result.all(), strict=True)) or [()] * (len(names) + 1)
    return Table(columns[0], dict(zip(names, columns[1:], strict=True)))


def _pivot(connection: sa.Connection, query: sa.Select[*tuple[Any, ...]], names: Sequence[str]) -> Table:
    """Run a query for rows of time, name and number. Return a column for each name; a number that is missing is 0."""
    days: dict[datetime, dict[str, int]] = {}
    for at, name, number in connection.execute(query):
        days.setdefault(at, {})[name] = number
    return Table(list(days), {name: [counts.get(name, 0) for counts in days.values()] for name in names})


def _choose(table: Table, names: Sequence[str]) -> Table:
    return Table(table.at, {name: table.columns[name] for name in names})


def _with_interval(table: Table, has_interval: bool) -> Table:
    """Add the 95 % interval to a column of shares of images. Args: has_interval, whether the values are such shares."""
    counted: list[tuple[int, int]] = [
        (round(share * images), images) if has_interval else (0, 0)
        for share, images in zip(table.columns["value"], table.columns["images"], strict=True)
    ]
    shares = {pair: share_of(*pair) for pair in set(counted) if pair[1]}  # many nights have the same: this takes time
    ends = {
        name: [round(getattr(shares[pair], name), 5) if pair in shares else None for pair in counted]
        for name in ("low", "high")
    }
    return Table(table.at, {**table.columns, **ends})
