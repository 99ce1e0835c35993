"""Sentences and formats of figures."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ml.catalog.models.attempt_history import PastAttempt
from ml.catalog.models.drift_checks import DriftCheck
from ml.reporting.report.facts import Facts
from ml.reporting.report.formats import ago, count, lasted, listed
from ml.reporting.report.words import (
    describe_drift,
    describe_estimated_accuracy,
    describe_observed_accuracy,
    describe_outcome,
)


def test_the_description_of_drift_names_what_drifts(drift: DriftCheck) -> None:
    assert "No considerable and significant drift" in describe_drift(drift)
    moved = describe_drift(replace(drift, moved=["confidence", "features"]))
    assert "the confidence of the answers and the features of the images" in moved


def test_missing_figures_are_described_with_their_cause(drift: DriftCheck) -> None:
    assert describe_drift(replace(drift, recent_images=7, confidence_psi=None)).startswith(
        "Too few images to compare: 7,"
    )
    assert describe_estimated_accuracy(replace(drift, estimated_accuracy=None)).startswith("Not estimated")
    assert describe_observed_accuracy(replace(drift, observed_accuracy=None)).startswith("Not observed")


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, "promoted"),
        ({"was_promoted": False}, "passed the gate, not in production"),
        ({"decision": "keep", "was_promoted": False}, "not promoted"),
        ({"decision": None, "finished_at": None}, "no verdict yet, begun at 05:00"),
        ({"decision": None}, "ended without a verdict"),
    ],
)
def test_the_outcome_of_a_training(facts: Facts, changes: dict[str, object], outcome: str) -> None:
    attempt: PastAttempt = replace(facts.attempts[0], **changes)  # type: ignore[arg-type]
    assert describe_outcome(attempt) == outcome


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0.5, "just now"), (1, "1 minute ago"), (119, "119 minutes ago"), (120, "2 hours ago"), (2880, "2 days ago")],
)
def test_elapsed_time_has_a_suitable_unit(minutes: float, words: str) -> None:
    assert ago(timedelta(minutes=minutes)) == words


def test_numbers_and_lists_are_written_in_english() -> None:
    assert (count(1, "batch"), count(2, "batch"), count(0, "image")) == ("1 batch", "2 batches", "0 images")
    assert (lasted(90), lasted(600)) == ("90 s", "10 min")
    assert [listed(["a", "b", "c"][:length]) for length in range(4)] == ["", "a", "a and b", "a, b and c"]
