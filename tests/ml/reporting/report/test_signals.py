"""The four signals at the top of the page."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ml.catalog.models.drift_checks import DriftCheck
from ml.catalog.models.evaluations import Shortfall
from ml.reporting.health import Health
from ml.reporting.report.facts import Facts
from ml.reporting.report.signals import Signal, read_signals, sum_up

MODEL, DATA, NIGHTS, WAITING = range(4)


def signals(facts: Facts, **changes: Any) -> list[Signal]:
    return read_signals(replace(facts, health=replace(facts.health, **changes)))


def test_all_is_well(facts: Facts) -> None:
    found = read_signals(facts)
    assert [signal.state for signal in found] == ["good"] * 4
    assert [signal.figure for signal in found] == ["92.0%", "Stable", "4 hours ago", "Nothing"]
    assert sum_up(found) == "All is well."


def test_a_model_below_the_floor_needs_attention(facts: Facts) -> None:
    below = [Shortfall(None, 0.69, 0.7), Shortfall("amanita", 0.5, 0.8, "recall")]
    parts = [
        replace(part, main_figure=0.69, shortfalls=below) if part.is_deciding else part for part in facts.health.parts
    ]
    found = signals(facts, parts=parts)
    assert (found[MODEL].state, found[MODEL].detail) == (
        "attention",
        "Version 2 is in production. Accuracy 69.0% is below the floor of 70.0%. "
        "Recall 50.0% of amanita is below its floor of 80.0%.",
    )
    assert sum_up(found) == "Look at the model."


def test_only_the_part_that_decides_counts(facts: Facts) -> None:
    below = [Shortfall(None, 0.1, 0.7)]
    parts = [part if part.is_deciding else replace(part, shortfalls=below) for part in facts.health.parts]
    assert signals(facts, parts=parts)[MODEL].state == "good"


def test_drift_needs_attention_and_is_unknown_with_too_few_predictions(facts: Facts, drift: DriftCheck) -> None:
    assert signals(facts, drift=replace(drift, moved=["classes", "features"]))[DATA] == Signal(
        "The data", "attention", "Drifting", "Different from the training data: classes and features."
    )
    found = signals(facts, drift=replace(drift, confidence_psi=None))
    assert found[DATA].state == "unknown"
    assert sum_up(found) == "Nothing is wrong; not all is known yet."


def test_a_missing_night_needs_attention(facts: Facts) -> None:
    assert signals(facts, monitored_at=facts.at - timedelta(hours=26))[NIGHTS].state == "good"
    late = signals(facts, monitored_at=facts.at - timedelta(hours=50))[NIGHTS]
    assert (late.state, late.figure) == ("attention", "2 days ago")


def test_a_missing_check_for_drift_needs_attention(facts: Facts) -> None:
    late = signals(facts, drift_checked_at=facts.at - timedelta(hours=50))[NIGHTS]
    assert (late.state, late.detail) == ("attention", "The last check for drift: 2026-03-29 04:00.")
    never = signals(facts, drift_checked_at=None)[NIGHTS]
    assert (never.state, never.detail) == ("attention", "The last check for drift: never.")


@pytest.mark.parametrize(("days_ago", "state"), [(1, "attention"), (5, "good")])
def test_a_failed_training_counts_until_one_succeeds(facts: Facts, days_ago: int, state: str) -> None:
    assert signals(facts, retraining_failed_at=facts.at - timedelta(days=days_ago))[NIGHTS].state == state


@pytest.mark.parametrize(
    ("changes", "figure", "detail"),
    [
        ({"approvals_waiting": 1}, "1 approval", "For a person."),
        ({"quarantined_batches": 2, "waiting_images": 9}, "2 batches", "2 batches and 9 images for a person."),
        ({"is_promotion_held": True}, "Held", "Automatic promotion is held."),
    ],
)
def test_a_waiting_decision_needs_attention(facts: Facts, changes: Any, figure: str, detail: str) -> None:
    assert signals(facts, **changes)[WAITING] == Signal("What waits", "attention", figure, detail)


def test_all_signals_of_an_empty_deployment_are_unknown(facts: Facts) -> None:
    nothing = Health(None, None, {}, None, None, None, None, None, 0, 0, 0, False)
    found = read_signals(replace(facts, health=nothing))
    assert [signal.state for signal in found] == ["unknown", "unknown", "unknown", "good"]
