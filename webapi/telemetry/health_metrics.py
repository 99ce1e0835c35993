"""The catalog's figures under the names that rules and dashboards know."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily

from ml.catalog.models.drift_checks import DriftCheck
from ml.reporting.health import Health, PartAccuracy
from ml.settings import Settings


def health_metrics(health: Health, settings: Settings) -> Iterator[GaugeMetricFamily]:
    """One gauge per figure. What never happened or is not known is absent."""
    single = {
        "champion_version": ("Model version in production, as the catalog knows it", health.champion),
        "accuracy_floor": ("Retrain below this accuracy", settings.accuracy_floor),
        "new_images_threshold": ("Retrain at this many new images", settings.new_images_threshold),
        "untried_images": ("New images that came after the latest judged training's snapshot", health.untried_images),
        "promotion_timestamp_seconds": ("When the champion went into production", _seconds(health.promoted_at)),
        "monitoring_timestamp_seconds": ("The last nightly check", _seconds(health.monitored_at)),
        "drift_check_timestamp_seconds": ("The last check for drift", _seconds(health.drift_checked_at)),
        "retraining_timestamp_seconds": ("The last verdict on a training", _seconds(health.retrained_at)),
        "retraining_duration_seconds": ("From that training's start to its verdict", health.retraining_seconds),
        "retraining_failure_timestamp_seconds": (
            "The last step that gave up, of trainings that have not ended since",
            _seconds(health.retraining_failed_at),
        ),
        "snapshot_cutoff_timestamp_seconds": (
            "Until when the champion knows the pool",
            _seconds(health.snapshot_cutoff),
        ),
        "quarantined_batches": ("Batches in quarantine", health.quarantined_batches),
        "waiting_images": ("Images that wait for a certificate", health.waiting_images),
        "approvals_waiting": ("Promotions that wait for a person", health.approvals_waiting),
        "promotion_held": ("1 where a rollback holds automatic promotion", health.is_promotion_held),
    }
    yield from _gauges(single)
    yield from _of_accuracy(health.parts, health.deciding)
    yield from _of_images(health)
    if health.drift is not None:
        yield from _of_drift(health.drift)


def _of_accuracy(parts: Sequence[PartAccuracy], deciding: PartAccuracy | None) -> Iterator[GaugeMetricFamily]:
    if deciding is not None:
        at = _seconds(deciding.evaluated_at)
        yield from _gauges(
            {
                "deciding_accuracy": ("The champion's accuracy that the floor is held against", deciding.accuracy),
                "evaluation_timestamp_seconds": ("When the champion was last scored", at),
            }
        )
    accuracy = {part.part: part.accuracy for part in parts}
    yield _by("part", "model_accuracy", "The champion's accuracy on a part of the evaluation set", accuracy)
    recall = GaugeMetricFamily("mycoflow_class_recall", "The champion's recall of a class", labels=["part", "class"])
    for part in parts:
        for name, figures in part.per_class.items():
            if figures["image_count"]:  # recall is 0 by definition where there is nothing to find
                recall.add_metric([part.part, name], figures["recall"])
    yield recall


def _of_images(health: Health) -> Iterator[GaugeMetricFamily]:
    if health.new_images is not None:
        new = {"human": health.new_images.human, "harvested": health.new_images.harvested}
        yield _by("origin", "new_images", "Pool images since the champion's snapshot, by who named them", new)
    yield _by("origin", "pool_images", "Images in the pool, by the origin of their label", health.pool)


def _of_drift(check: DriftCheck) -> Iterator[GaugeMetricFamily]:
    scores = {
        "confidence_psi": check.confidence_psi,
        "confidence_ks": check.confidence_ks,
        "class_psi": check.class_psi,
        "feature_mmd": check.feature_mmd,
    }
    p_values = {
        "confidence": check.confidence_p_value,
        "classes": check.class_p_value,
        "features": check.feature_p_value,
    }
    moved = {what: what in check.moved for what in p_values}
    yield _by("score", "drift", "How far recent predictions are from what the champion learned", scores)
    yield _by("of", "drift_p_value", "How often chance alone would move them so far", p_values)
    yield _by("what", "drift_moved", "1 where that is beyond chance and considerable", moved)
    yield from _gauges(
        {
            "estimated_accuracy": ("Accuracy on recent predictions, by their confidence", check.estimated_accuracy),
            "observed_accuracy": ("Accuracy by people's feedback", check.observed_accuracy),
            "observed_accuracy_low": ("Lower end of its interval", check.observed_accuracy_low),
            "observed_accuracy_high": ("Upper end of its interval", check.observed_accuracy_high),
        }
    )


def _gauges(figures: Mapping[str, tuple[str, float | None]]) -> Iterator[GaugeMetricFamily]:
    for name, (text, value) in figures.items():
        if value is not None:
            yield GaugeMetricFamily(f"mycoflow_{name}", text, value=float(value))


def _by(label: str, name: str, text: str, values: Mapping[str, float | None]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"mycoflow_{name}", text, labels=[label])
    for of, value in values.items():
        if value is not None:
            family.add_metric([of], float(value))
    return family


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
