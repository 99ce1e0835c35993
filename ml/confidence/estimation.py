"""Accuracy of answers without labels: estimated from confidences, and observed in feedback. Pure functions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MINIMUM_IMAGES = 30  # fewer images are too few for a calibration

_LOG_TEMPERATURES = (-3.0, 3.0)  # 0.05 to 20
_SMALLEST_PROBABILITY = np.finfo(np.float32).tiny  # the logarithm of 0 is not finite

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class ObservedAccuracy:
    """The share of answers that people called correct, and its 95 % interval, all 0 to 1."""

    share: float
    low: float
    high: float


def fit_temperature(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """Fit the temperature: the divisor of the logits that calibrates the confidences best.

    Args:
        probabilities: of human-labelled images that the model was not trained on, (n, classes), n from 1.
        labels: class indices, (n,).
    Returns: above 1 for an overconfident model.
    Source: temperature scaling; Guo, Pleiss, Sun, Weinberger, arXiv 1706.04599.
    """
    from scipy.optimize import minimize_scalar  # noqa: PLC0415 - 1 s
    from scipy.special import log_softmax  # noqa: PLC0415 - 1 s

    logits, rows = _logits(probabilities), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded").x))


def estimate_accuracy(probabilities: Floats, temperature: float) -> float:
    """Estimate the accuracy as the mean of calibrated confidences (confidence-based performance estimation).

    The estimate falls correctly when more images are difficult for the model. It is not valid for images unlike all
    that the temperature was fitted on: then use MMD, which measures drift of the features.

    Args: probabilities, (n, classes), n from 1.
    Source: CBPE as in NannyML's documentation, "Confidence-based Performance Estimation", for accuracy.
    """
    from scipy.special import softmax  # noqa: PLC0415 - 1 s

    return float(softmax(_logits(probabilities) / temperature, axis=1).max(axis=1).mean())


def observed_accuracy(right: int, count: int) -> ObservedAccuracy | None:
    """Return the accuracy according to people's feedback; None without feedback.

    Source: Wilson's score interval, Journal of the American Statistical Association 22 (1927).
    """
    from scipy.stats import binomtest  # noqa: PLC0415 - 1 s

    if not count:
        return None
    interval = binomtest(right, count).proportion_ci(confidence_level=0.95, method="wilson")
    return ObservedAccuracy(right / count, float(interval.low), float(interval.high))


def _logits(probabilities: Floats) -> NDArray[np.float64]:
    """Return the logarithms: logits up to a constant per image, which softmax cancels."""
    return np.log(np.maximum(probabilities, _SMALLEST_PROBABILITY).astype(np.float64))
