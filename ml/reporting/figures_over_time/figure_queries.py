"""The queries for figures over time. Pages run them; Grafana's dashboards have them as text.

Each takes the period that it reads, and gives a column `time` first. Columns for Grafana are named as it wants them.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml.catalog.images.daily_arrivals import Period, StartOfDay, start_of_utc_day
from ml.catalog.tables import (
    class_recalls,
    drift_checks,
    evaluations,
    feedback,
    item_classes,
    monitorings,
    predictions,
    promotions,
    results,
)

Columns = sa.ColumnElement[Any]


def champion_at(moment: sa.ColumnElement[Any]) -> sa.ScalarSelect[int | None]:
    """Return the version in production at a time."""
    return (
        sa.select(promotions.c.to_version)
        .where(promotions.c.completed_at <= moment, promotions.c.kind != "release")
        .order_by(promotions.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def evaluations_over_time(period: Period, *columns: Columns) -> sa.Select[Any]:
    """Return the query for the evaluations of the version in production at the time, on both parts."""
    at = evaluations.c.evaluated_at
    query = sa.select(at.label("time"), *columns).where(period(at), evaluations.c.model_version == champion_at(at))
    return query.order_by(at)


def recalls_over_time(period: Period, *columns: Columns) -> sa.Select[Any]:
    """Return the query for the recalls of classes, of the version in production at the time, on the deciding part."""
    at = class_recalls.c.evaluated_at
    query = sa.select(at.label("time"), *columns).where(period(at), class_recalls.c.model_version == champion_at(at))
    return query.order_by(at, class_recalls.c.class_name)


def checks_over_time(period: Period, *columns: Columns) -> sa.Select[Any]:
    """Return the query for the nightly checks."""
    at = monitorings.c.monitored_at
    return sa.select(at.label("time"), *columns).where(period(at)).order_by(at)


def drift_over_time(period: Period, *columns: Columns) -> sa.Select[Any]:
    """Return the query for the checks for drift."""
    at = drift_checks.c.checked_at
    return sa.select(at.label("time"), *columns).where(period(at)).order_by(at)


def moves_over_time(period: Period, *columns: Columns) -> sa.Select[Any]:
    """Return the query for the moves of the alias that were completed. A release is none."""
    at = promotions.c.completed_at
    query = sa.select(at.label("time"), *columns)
    return query.where(at.is_not(None), promotions.c.kind != "release", period(at)).order_by(at)


def feedback_by_day(
    period: Period, start_of_day: StartOfDay = start_of_utc_day, class_name: str | None = None
) -> sa.Select[datetime, str, int]:
    """Return the query for feedback: start of the day, verdict, number.

    Args: class_name, count only feedback on answers with this class; None for all answers.
    """
    day = start_of_day(feedback.c.given_at).label("time")
    query = sa.select(day, feedback.c.verdict.label("metric"), sa.func.count().label("value"))
    if class_name is not None:
        query = query.select_from(feedback.join(predictions).join(results)).where(results.c.top_class == class_name)
    return query.where(period(feedback.c.given_at)).group_by(day, feedback.c.verdict).order_by(day)


def confidence_by_day(
    period: Period, start_of_day: StartOfDay = start_of_utc_day, class_name: str | None = None
) -> sa.Select[Any]:
    """Return the query for the confidence of answers: start of the day, 10th, 50th and 90th percentile, number.

    A photo that the same version has answered before counts once, as in the check for drift.

    Args: class_name, read only answers with this class; None for all answers.
    """
    day = start_of_day(predictions.c.requested_at).label("time")
    percentiles = [
        sa.func.percentile_disc(share).within_group(results.c.confidence).label(name)
        for name, share in (("low", 0.1), ("median", 0.5), ("high", 0.9))
    ]
    query = (
        sa.select(day, *percentiles, sa.func.count().label("answers"))
        .select_from(predictions.join(results))
        .where(period(predictions.c.requested_at), predictions.c.is_cached.is_(False))
        .group_by(day)
        .order_by(day)
    )
    return query if class_name is None else query.where(results.c.top_class == class_name)


def pool_by_class() -> sa.Select[str, int, int]:
    """Return the query for the number of images of each class in the pool: with human and with harvested labels."""
    is_harvested = item_classes.c.label_origin == "harvested"
    return (
        sa.select(
            item_classes.c.class_name.label("label"),
            sa.func.count().filter(~is_harvested).label("human"),
            sa.func.count().filter(is_harvested).label("harvested"),
        )
        .where(item_classes.c.entered_pool_at.is_not(None))
        .group_by(item_classes.c.class_name)
        .order_by(item_classes.c.class_name)
    )
