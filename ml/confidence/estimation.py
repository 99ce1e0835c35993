"""Accuracy of answers without labels: estimated from confidences, and observed in feedback. Pure functions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.confidence.calibration import apply_temperature

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Share:
    """A share of some images, and its 95 % interval, all 0 to 1."""

    share: float
    low: float
    high: float


def estimate_accuracy(probabilities: Floats, temperature: float) -> float:
    """Estimate the accuracy as the mean of calibrated confidences (confidence-based performance estimation).

    The estimate falls correctly when more images are difficult for the model. It is not valid for images unlike all
    that the temperature was fitted on: then use MMD, which measures drift of the features.

    Args: probabilities, (n, classes), n from 1.
    Source: CBPE as in NannyML's documentation, "Confidence-based Performance Estimation", for accuracy.
    """
    return float(apply_temperature(probabilities, temperature).max(axis=1).mean())


def share_of(part: int, count: int) -> Share:
    """Return the share of `part` among `count` images, at least one.

    Source: Wilson's score interval, Journal of the American Statistical Association 22 (1927).
    """
    from scipy.stats import binomtest  # noqa: PLC0415 - 1 s

    interval = binomtest(part, count).proportion_ci(confidence_level=0.95, method="wilson")
    return Share(part / count, float(interval.low), float(interval.high))


def observed_accuracy(right: int, count: int) -> Share | None:
    """Return the accuracy according to people's feedback; None without feedback."""
    return share_of(right, count) if count else None
