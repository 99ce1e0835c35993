"""What the page says in sentences: drift, estimates, and what the plots show to those who do not see them."""

from collections.abc import Sequence
from datetime import UTC

from ml.catalog.images.daily_arrivals import DayOfArrivals
from ml.catalog.models.attempt_history import PastAttempt
from ml.catalog.models.drift_checks import DriftCheck
from ml.evaluation.drift import MINIMUM_IMAGES
from ml.reporting.health import NightPoint
from ml.reporting.report.formats import count, listed, percent

_MEANINGS = {
    "confidence": "how sure it is of its answers",
    "classes": "what it answers",
    "features": "what the images look like",
}


def tell_drift(drift: DriftCheck) -> str:
    """Whether what people ask about is like what the model learned from."""
    if drift.confidence_psi is None:
        fewer = min(drift.recent_images, drift.reference_images)
        return f"Too few images to compare: {fewer}, where it takes {MINIMUM_IMAGES}."
    compared = f"the last {count(drift.recent_images, 'image')} that people asked about"
    against = f"{count(drift.reference_images, 'image')} of the model's own snapshot"
    if drift.moved:
        moved = listed([_MEANINGS[name] for name in drift.moved])
        return f"In {compared}, this is not as it was in {against}: {moved}. Labels of such images help most."
    return f"In {compared}, nothing differs considerably, and beyond chance, from {against}."


def tell_estimated(drift: DriftCheck) -> str:
    """How often the model is right, as its own confidence says."""
    if drift.estimated_accuracy is None:
        return "Not estimated: too few predictions, or too few labelled images to calibrate its confidence with."
    return (
        f"{percent(drift.estimated_accuracy)}, estimated from its confidence in the last "
        f"{count(drift.recent_images, 'image')}, calibrated on {drift.calibration_images} labelled ones."
    )


def tell_observed(drift: DriftCheck) -> str:
    """How often the model is right, as people say."""
    if drift.observed_accuracy is None:
        return "Not observed: nobody judged an answer of this version."
    return (
        f"{percent(drift.observed_accuracy)} of {count(drift.feedback_images, 'image')} that people judged; with 95% "
        f"certainty between {percent(drift.observed_accuracy_low)} and {percent(drift.observed_accuracy_high)}. "
        "They chose which: it is no random sample."
    )


def describe_trend(nights: Sequence[NightPoint], floor: float) -> str:
    """The plot of accuracies, for those who do not see it. Args: nights, oldest first, one or more."""
    accuracies = [night.main_figure for night in nights]
    below = sum(bool(night.shortfalls) for night in nights)
    return (
        f"Accuracy at the last {count(len(nights), 'nightly check')}: first {percent(accuracies[0])}, "
        f"last {percent(accuracies[-1])}, lowest {percent(min(accuracies))}, highest {percent(max(accuracies))}; "
        f"{below} below the floor of {percent(floor)}."
    )


def describe_arrivals(days: Sequence[DayOfArrivals]) -> str:
    """The plot of arrivals, for those who do not see it. Args: days, oldest first, one or more."""
    total = sum(day.total for day in days)
    busiest = max(days, key=lambda day: day.total)
    most = f"; most on {busiest.day}: {busiest.total}" if total else ""
    return f"{count(total, 'image')} entered the pool in {count(len(days), 'day')}{most}."


def tell_outcome(attempt: PastAttempt) -> str:
    """What became of a training."""
    if attempt.decision is None:
        begun = f"{attempt.started_at.astimezone(UTC):%H:%M}"
        return "ended without a verdict" if attempt.finished_at else f"no verdict yet, begun at {begun}"
    if attempt.decision != "promote":
        return "kept out"
    return "promoted" if attempt.was_promoted else "passed the gate, not in production"
