"""The sentences of the page: on drift, on estimates, and the plots' alternative texts."""

from collections.abc import Sequence
from datetime import UTC

from ml.catalog.images.daily_arrivals import DayOfArrivals
from ml.catalog.models.attempt_history import PastAttempt
from ml.catalog.models.drift_checks import DriftCheck
from ml.confidence.novelty import KNOWN_CALLED_NOVEL
from ml.evaluation.drift import MINIMUM_IMAGES
from ml.reporting.health import NightPoint
from ml.reporting.report.formats import count, listed, percent

_MEANINGS = {
    "confidence": "the confidence of the answers",
    "classes": "the classes of the answers",
    "features": "the features of the images",
    "novelty": "the share of images that seem to show none of the known classes",
}


def describe_drift(drift: DriftCheck) -> str:
    """Describe whether recent predictions are like the model's training data."""
    if drift.confidence_psi is None:
        fewer = min(drift.recent_images, drift.reference_images)
        return f"Too few images to compare: {fewer}, and at least {MINIMUM_IMAGES} are needed."
    compared = f"the last {count(drift.recent_images, 'image')} sent for prediction"
    reference = f"{count(drift.reference_images, 'image')} of the model's snapshot"
    if drift.moved:
        moved = listed([_MEANINGS[name] for name in drift.moved])
        return f"Drift between {reference} and {compared}: {moved}. Labels for such images help most."
    return f"No considerable and significant drift between {reference} and {compared}."


def describe_novelty(drift: DriftCheck) -> str:
    """Describe how many recent images seem to show none of the known classes."""
    if drift.novel_share is None:
        return "Not measured: too few images, or a version without a measure of novelty, as its card says."
    return (
        f"{percent(drift.novel_share)} of the last {count(drift.recent_images, 'image')} seem to show none of the "
        f"known classes. Of known images, {percent(KNOWN_CALLED_NOVEL)} do."
    )


def describe_estimated_accuracy(drift: DriftCheck) -> str:
    """Describe the accuracy estimated from the model's confidence."""
    if drift.estimated_accuracy is None:
        return "Not estimated: too few predictions, or too few labelled images to calibrate the confidence."
    return (
        f"{percent(drift.estimated_accuracy)}, estimated from its confidence in the last "
        f"{count(drift.recent_images, 'image')}, calibrated on {drift.calibration_images} labelled images."
    )


def describe_observed_accuracy(drift: DriftCheck) -> str:
    """Describe the accuracy observed in people's feedback."""
    if drift.observed_accuracy is None:
        return "Not observed: this version has no feedback."
    return (
        f"{percent(drift.observed_accuracy)} of {count(drift.feedback_images, 'image')} that people judged; with 95% "
        f"certainty between {percent(drift.observed_accuracy_low)} and {percent(drift.observed_accuracy_high)}. "
        "People chose the images themselves: they are no random sample."
    )


def describe_trend(figure: str, nights: Sequence[NightPoint], floor: float) -> str:
    """Return the alternative text of the main figure's plot.

    Args: figure, its name; nights, oldest first, one or more.
    """
    values = [night.main_figure for night in nights]
    below = sum(bool(night.shortfalls) for night in nights)
    return (
        f"{figure} at the last {count(len(nights), 'nightly check')}: first {percent(values[0])}, "
        f"last {percent(values[-1])}, lowest {percent(min(values))}, highest {percent(max(values))}; "
        f"{below} below the floor of {percent(floor)}."
    )


def describe_arrivals(days: Sequence[DayOfArrivals]) -> str:
    """Return the alternative text of the plot of arrivals. Args: days, oldest first, one or more."""
    total = sum(day.total for day in days)
    busiest = max(days, key=lambda day: day.total)
    most = f"; most on {busiest.day}: {busiest.total}" if total else ""
    return f"{count(total, 'image')} entered the pool in {count(len(days), 'day')}{most}."


def describe_outcome(attempt: PastAttempt) -> str:
    """Describe the outcome of a training."""
    if attempt.decision is None:
        begun = f"{attempt.started_at.astimezone(UTC):%H:%M}"
        return "ended without a verdict" if attempt.finished_at else f"no verdict yet, begun at {begun}"
    if attempt.decision != "promote":
        return "not promoted"
    return "promoted" if attempt.was_promoted else "passed the gate, not in production"
