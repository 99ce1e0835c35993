"""Facts about a deployment, written by hand: pages are rendered from them without a database."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ml.catalog.images.batches import Batch
from ml.catalog.images.daily_arrivals import DayOfArrivals
from ml.catalog.images.label_origins import NewImages
from ml.catalog.logs.outbox import Alert
from ml.catalog.models.attempt_history import PastAttempt
from ml.catalog.models.drift_checks import DriftCheck
from ml.catalog.models.journal import Move
from ml.evaluation.floor import floor_of
from ml.figures import NIGHTLY
from ml.reporting.health import Health, NightPoint, PartFigures
from ml.reporting.report.facts import Facts
from ml.settings import Settings

AT = datetime(2026, 3, 31, 6, tzinfo=UTC)
CLASSES = ["amanita", "boletus", "russula"]


@pytest.fixture
def drift() -> DriftCheck:
    """A drift check without drift."""
    return DriftCheck(
        model_version=2,
        reference_images=200,
        recent_images=60,
        reference_features=200,
        recent_features=60,
        calibration_images=150,
        feedback_images=40,
        confidence_psi=0.05,
        confidence_ks=0.1,
        confidence_p_value=0.4,
        class_psi=0.02,
        class_p_value=0.9,
        feature_mmd=0.001,
        feature_p_value=0.3,
        novel_share=0.12,
        novelty_p_value=0.3,
        moved=[],
        estimated_accuracy=0.914,
        observed_accuracy=0.9,
        observed_accuracy_low=0.769,
        observed_accuracy_high=0.96,
    )


@pytest.fixture
def health(drift: DriftCheck) -> Health:
    """Version 2 is in production, and all is well."""
    confusion = [[46, 4, 0], [1, 39, 0], [0, 3, 7]]
    figures = [(50, 46 / 50, 46 / 47), (40, 39 / 40, 39 / 46), (10, 7 / 10, 1.0)]
    per_class = {
        name: {"image_count": count, "recall": recall, "precision": precision, "f1": 0.887}
        for name, (count, recall, precision) in zip(CLASSES, figures, strict=True)
    }
    return Health(
        champion=2,
        promoted_at=AT - timedelta(days=3),
        pool={"curated": 1000, "confirmed": 120, "harvested": 30},
        monitored_at=AT - timedelta(hours=4),
        retrained_at=AT - timedelta(days=3),
        retraining_seconds=400,
        retraining_failed_at=None,
        drift_checked_at=AT - timedelta(hours=4),
        quarantined_batches=0,
        waiting_images=0,
        approvals_waiting=0,
        is_promotion_held=False,
        classes=CLASSES,
        precision="int8",
        backbone="vgg16",
        backbone_weights="imagenet",
        image_size=160,
        parts=[
            PartFigures("anchor", 0.95, 500, False, AT, per_class, confusion, []),
            PartFigures("recent", 0.92, 100, True, AT, per_class, confusion, []),
        ],
        snapshot_cutoff=AT - timedelta(days=4),
        new_images=NewImages(120, 30),
        untried_images=150,
        figures={figure.name: (801 + number) / 1000 for number, figure in enumerate(NIGHTLY)},
        drift=drift,
    )


@pytest.fixture
def facts(health: Health) -> Facts:
    """Five nights, a promotion between them, and one of everything else."""
    accuracies = [0.9, 0.8, 0.65, 0.93, 0.92]
    ago = [timedelta(days=days, hours=4) for days in (5, 4, 3, 1, 0)]  # one night is missing
    return Facts(
        at=AT,
        settings=Settings(),
        health=health,
        nights=[
            NightPoint(
                AT - past,
                1 if number < 3 else 2,
                accuracy,
                NewImages(10 * number, 0),
                [],
                floor_of(Settings()).shortfalls(accuracy, {}),
            )
            for number, (past, accuracy) in enumerate(zip(ago, accuracies, strict=True))
        ],
        moves=[Move(2, "promotion", 1, 2, True, "retrain", "It is better.", AT - timedelta(days=3))],
        arrivals=[DayOfArrivals(date(2026, 3, 30), {"confirmed": 20, "harvested": 4}), DayOfArrivals(AT.date(), {})],
        attempts=[
            PastAttempt(
                started_at=AT - timedelta(days=3, hours=1),
                finished_at=AT - timedelta(days=3),
                reason="Accuracy 65.0% is below the floor of 70.0%.",
                model_version=2,
                decided_at=AT - timedelta(days=3),
                decision="promote",
                reasons=["The challenger is better."],
                warnings=[],
                challenger_figure=0.93,
                champion_figure=0.65,
                was_promoted=True,
            )
        ],
        batches=[Batch(7, "s3://photos/incoming", True, 0.4, None, AT, 12, {"waiting": 12, "rejected": 8})],
        alerts=[
            Alert(1, "promoted", "move:2", "In production: version 2", "Before: version 1.", AT, None, [], 0, None)
        ],
    )
