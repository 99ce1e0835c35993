"""How good answers are that nobody labelled: estimated from confidences, and observed in feedback. Pure functions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MINIMUM_IMAGES = 30  # fewer calibrate nothing

_LOG_TEMPERATURES = (-3.0, 3.0)  # 0.05 to 20
_LEAST = np.finfo(np.float32).tiny  # a probability of 0 has no logarithm

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class ObservedAccuracy:
    """The share of answers that people call right, with its interval at 95 %, all 0 to 1."""

    share: float
    low: float
    high: float


def fit_temperature(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """Find what the logits are to be divided by so that confidences are as honest as one number can make them.

    Args:
        probabilities: of human-labelled images that the model never learned from, (n, classes), n from 1.
        labels: class indices, (n,).
    Returns: above 1 where the model is too sure of itself.
    Source: temperature scaling; Guo, Pleiss, Sun, Weinberger, arXiv 1706.04599.
    """
    from scipy.optimize import minimize_scalar  # noqa: PLC0415 - 1 s
    from scipy.special import log_softmax  # noqa: PLC0415 - 1 s

    logits, rows = _logits(probabilities), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded").x))


def estimate_accuracy(probabilities: Floats, temperature: float) -> float:
    """Confidence-based performance estimation: the mean of calibrated confidences is the accuracy to expect.

    It follows a shift among images that the model is honestly unsure of. Images unlike any that the temperature was
    fitted to it cannot judge: what MMD says then counts.

    Args: probabilities, (n, classes), n from 1.
    Source: CBPE as in NannyML's documentation, "Confidence-based Performance Estimation", for accuracy.
    """
    from scipy.special import softmax  # noqa: PLC0415 - 1 s

    return float(softmax(_logits(probabilities) / temperature, axis=1).max(axis=1).mean())


def observed_accuracy(right: int, count: int) -> ObservedAccuracy | None:
    """The accuracy that people's feedback shows; None without any.

    Source: Wilson's score interval, Journal of the American Statistical Association 22 (1927).
    """
    from scipy.stats import binomtest  # noqa: PLC0415 - 1 s

    if not count:
        return None
    interval = binomtest(right, count).proportion_ci(confidence_level=0.95, method="wilson")
    return ObservedAccuracy(right / count, float(interval.low), float(interval.high))


def _logits(probabilities: Floats) -> NDArray[np.float64]:
    """Logarithms: logits but for a constant per image, which softmax takes away."""
    return np.log(np.maximum(probabilities, _LEAST).astype(np.float64))
