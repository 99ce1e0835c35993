"""Calibrate a head's confidences, and its measure of novelty, by cross-fitted answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.confidence.calibration import MINIMUM_IMAGES, apply_temperature, fit_temperature
from ml.confidence.cross_fitting import Division, Labels, Rows, is_answered
from ml.confidence.novelty import KNOWN_CALLED_NOVEL, NoveltyMeasure, References

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class AnswerConfidence:
    """How the answers of a version were calibrated.

    Args:
        temperature: the divisor of the head's logits; 1 if there were too few images to fit it on.
        image_count: number of images that it was fitted on.
        novelty: how novelty is measured; None if it is not.
        novelty_reason: how its threshold was chosen, or why it is not measured, in a sentence.
        answers: the calibrated cross-fitted answers, (n, classes); NaN where there is none.
    """

    temperature: float
    image_count: int
    novelty: NoveltyMeasure | None
    novelty_reason: str
    answers: Floats

    @classmethod
    def unknown(cls, count: int, class_count: int) -> "AnswerConfidence":
        """Return that of a head whose answers were not calibrated. Args: count, number of images."""
        answers = np.full((count, class_count), np.nan, np.float32)
        return cls(1.0, 0, None, "Novelty is off: the answers were not calibrated.", answers)


def fit_confidence(
    features: Floats, labels: Labels, answers: Floats, divisions: Sequence[Division], references: Rows, sees: bool
) -> AnswerConfidence:
    """Fit the temperature, and the threshold of novelty, on cross-fitted answers.

    Args:
        features: of the unchanged images, (n, feature count).
        labels: class indices, (n,).
        answers: cross-fitted probabilities before calibration, (n, classes); NaN where there is none.
        divisions: the rows that the heads of these answers were fitted on, and those that they answered.
        references: rows of the known images that novelty is measured against.
        sees: whether the backbone's weights were trained. Random weights see too little for a measure of novelty.
    """
    rows = np.flatnonzero(is_answered(answers))
    if len(rows) < MINIMUM_IMAGES:
        reason = f"Novelty is off: expected {MINIMUM_IMAGES} or more cross-fitted answers, found {len(rows)}."
        return AnswerConfidence(1.0, 0, None, reason, answers)
    temperature = fit_temperature(answers[rows], labels[rows])
    calibrated = answers.copy()
    calibrated[rows] = apply_temperature(answers[rows], temperature)
    if not sees:
        reason = "Novelty is off: the backbone's weights are random."
        return AnswerConfidence(temperature, len(rows), None, reason, calibrated)
    distances = np.full(len(features), np.nan)
    for division in divisions:
        others = np.intersect1d(division.fitted, references)
        if len(others):
            distances[division.answered] = References.of(features[others]).distances(features[division.answered])
    known = rows[~np.isnan(distances[rows])]
    if len(known) < MINIMUM_IMAGES:
        reason = f"Novelty is off: expected {MINIMUM_IMAGES} or more images to fit its threshold, found {len(known)}."
        return AnswerConfidence(temperature, len(rows), None, reason, calibrated)
    novelty = NoveltyMeasure.of(References.of(features[references]), distances[known], calibrated[known].max(axis=1))
    reason = f"The threshold calls {KNOWN_CALLED_NOVEL:.0%} of {len(known)} known images novel, each without its group."
    return AnswerConfidence(temperature, len(rows), novelty, reason, calibrated)
