"""Export the catalog's figures as the gauges that ml.figures names. Rules and dashboards use these names."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily

from ml.evaluation.floor import floor_of, measured_recalls
from ml.figures import FIGURES, NIGHTLY
from ml.reporting.health import Health, PartFigures
from ml.settings import Settings

# Values of the labels -> value of the figure; None if it is not known, or the event never happened.
_Values = Mapping[tuple[str, ...], float | None]


def health_metrics(health: Health, settings: Settings) -> Iterator[GaugeMetricFamily]:
    """Return one gauge per figure. Figures without a value are left out."""
    values = _single_values(health, settings) | _labelled_values(health, settings)
    for figure in FIGURES:
        if figure.is_gauge:
            family = GaugeMetricFamily(figure.gauge, figure.meaning, labels=figure.labels)
            for labels, value in values[figure.name].items():
                if value is not None:
                    family.add_metric(labels, float(value))
            if family.samples:
                yield family


def _single_values(health: Health, settings: Settings) -> dict[str, _Values]:
    values = {
        "database_up": True,  # it just gave these figures
        "champion_version": health.champion,
        "accuracy_floor": settings.accuracy_floor,
        "new_images_threshold": settings.new_images_threshold,
        "untried_images": health.untried_images,
        "quarantined_batches": health.quarantined_batches,
        "waiting_images": health.waiting_images,
        "approvals_waiting": health.approvals_waiting,
        "promotion_held": health.is_promotion_held,
        "retraining_duration_seconds": health.retraining_seconds,
        **_times(health),
        **_accuracies(health),
        **{figure.name: health.figures.get(figure.name) for figure in NIGHTLY},
    }
    return {name: {(): value} for name, value in values.items()}


def _times(health: Health) -> dict[str, float | None]:
    moments = {
        "promotion": health.promoted_at,
        "monitoring": health.monitored_at,
        "drift_check": health.drift_checked_at,
        "retraining": health.retrained_at,
        "retraining_failure": health.retraining_failed_at,
        "snapshot_cutoff": health.snapshot_cutoff,
        "evaluation": health.deciding.evaluated_at if health.deciding else None,
    }
    return {f"{name}_timestamp_seconds": _seconds(moment) for name, moment in moments.items()}


def _accuracies(health: Health) -> dict[str, float | None]:
    deciding, drift = health.deciding, health.drift
    without_labels = (
        "novel_share",
        "estimated_accuracy",
        "observed_accuracy",
        "observed_accuracy_low",
        "observed_accuracy_high",
    )
    return {
        "deciding_accuracy": deciding.main_figure if deciding else None,
        **{name: getattr(drift, name) if drift else None for name in without_labels},
    }


def _labelled_values(health: Health, settings: Settings) -> dict[str, _Values]:
    new = health.new_images
    return {
        "below_floor": _floor_values(health.deciding, settings),
        "model_accuracy": {(part.part,): part.main_figure for part in health.parts},
        "class_recall": {
            (part.part, name): recall
            for part in health.parts
            for name, recall in measured_recalls(part.per_class).items()
        },
        "new_images": {("human",): new.human, ("harvested",): new.harvested} if new else {},
        "pool_images": {(origin,): count for origin, count in health.pool.items()},
        **_drift_values(health),
    }


def _floor_values(deciding: PartFigures | None, settings: Settings) -> _Values:
    """Return the decisions by class; the empty class has the decision on the main figure.

    In Prometheus, an empty label is the same as no label.
    """
    if deciding is None:
        return {}
    states = floor_of(settings).states(deciding.shortfalls, measured_recalls(deciding.per_class))
    return {(label or "",): is_below for label, is_below in states.items()}


def _drift_values(health: Health) -> dict[str, _Values]:
    check = health.drift
    if check is None:
        return {"drift": {}, "drift_p_value": {}, "drift_moved": {}}
    scores = ("confidence_psi", "confidence_ks", "class_psi", "feature_mmd")
    p_values = {
        "confidence": check.confidence_p_value,
        "classes": check.class_p_value,
        "features": check.feature_p_value,
        "novelty": check.novelty_p_value,
    }
    return {
        "drift": {(score,): getattr(check, score) for score in scores},
        "drift_p_value": {(of,): value for of, value in p_values.items()},
        "drift_moved": {(what,): what in check.moved for what in p_values},
    }


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
