"""Whether confidences are right: the temperature that calibrates them, and the error that is left. Pure functions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MINIMUM_IMAGES = 30  # fewer images are too few for a calibration

_LOG_TEMPERATURES = (-3.0, 3.0)  # 0.05 to 20
_SMALLEST_PROBABILITY = np.finfo(np.float32).tiny  # the logarithm of 0 is not finite
_BIN_IMAGES = 15  # of a bin on average: fewer make the estimate uncertain
_MOST_BINS = 15
_RESAMPLES = 1000
_CHUNK = 1_000_000  # answers that are drawn at once
_SEED = 0  # equal answers have equal figures

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class CalibrationError:
    """The root mean square difference between confidence and accuracy, with its 95 % interval; all 0 to 1."""

    error: float
    low: float
    high: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers of similar confidence: their number, mean confidence and accuracy, and its 95 % interval."""

    count: int
    confidence: float
    accuracy: float
    low: float
    high: float


def fit_temperature(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """Fit the temperature: the divisor of the logits that calibrates the confidences best.

    Args:
        probabilities: of human-labelled images that the model was not trained on, (n, classes), n from 1.
        labels: class indices, (n,).
    Returns: above 1 for an overconfident model.
    Source: temperature scaling; Guo, Pleiss, Sun, Weinberger, arXiv 1706.04599. The targets are a little below 1, as in
        Platt's "Probabilistic Outputs for Support Vector Machines" (1999): answers that are all right would otherwise
        make every confidence 1.
    """
    from scipy.optimize import minimize_scalar  # noqa: PLC0415 - 1 s
    from scipy.special import log_softmax  # noqa: PLC0415 - 1 s

    scores, (count, classes) = logits(probabilities), probabilities.shape
    targets = np.full((count, classes), 1 / (count + 2) / max(classes - 1, 1))
    targets[np.arange(count), labels] = (count + 1) / (count + 2)

    def loss(log_temperature: float) -> float:
        return -float((targets * log_softmax(scores / np.exp(log_temperature), axis=1)).sum(axis=1).mean())

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded").x))


def apply_temperature(probabilities: Floats, temperature: float) -> NDArray[np.float64]:
    """Divide the logits by the temperature. Args: probabilities, (n, classes). Returns: the same shape."""
    from scipy.special import softmax  # noqa: PLC0415 - 1 s

    return np.asarray(softmax(logits(probabilities) / temperature, axis=1))


def logits(probabilities: Floats) -> NDArray[np.float64]:
    """Return the logarithms: logits up to a constant per image, which softmax cancels."""
    return np.log(np.maximum(probabilities, _SMALLEST_PROBABILITY).astype(np.float64))


def measure_calibration(confidences: Floats, right: NDArray[np.bool_]) -> CalibrationError | None:
    """Measure the calibration error of answers, without the part that chance alone adds.

    The answers are divided into bins of equal size. In a bin of n answers, the accuracy differs from the confidence by
    chance; its expected square, accuracy (1 - accuracy) / (n - 1), is taken off.

    Args:
        confidences: of n answers, 0 to 1.
        right: whether each answer is right, (n,).
    Returns: None for fewer than MINIMUM_IMAGES. The interval is that of a bootstrap over the answers.
    Source: the debiased estimator of Kumar, Liang, Ma, "Verified Uncertainty Calibration", arXiv 1909.10155.
    """
    if len(confidences) < MINIMUM_IMAGES:
        return None
    confidence, truth = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    square = float(_squared_error(confidence[np.newaxis], truth[np.newaxis])[0])
    random, chunk = np.random.default_rng(_SEED), max(1, _CHUNK // len(confidence))
    parts = []
    for start in range(0, _RESAMPLES, chunk):
        drawn = random.integers(len(confidence), size=(min(chunk, _RESAMPLES - start), len(confidence)))
        parts.append(_squared_error(confidence[drawn], truth[drawn]))
    squares = np.concatenate(parts)
    # A resample repeats answers, which adds chance to its bins once more: move the resamples back to the estimate.
    low, high = np.quantile(squares - squares.mean() + square, [0.025, 0.975])
    return CalibrationError(*(float(np.sqrt(max(each, 0))) for each in (square, low, high)))


def divide_into_bins(confidences: Floats, right: NDArray[np.bool_]) -> list[ReliabilityBin]:
    """Divide answers into bins of equal size, from the least to the most confident. Args: as measure_calibration."""
    from scipy.stats import binomtest  # noqa: PLC0415 - 1 s

    order = np.argsort(confidences, kind="stable")
    bins = []
    for rows in np.array_split(order, _count_bins(len(order))):
        count, hits = len(rows), int(np.asarray(right)[rows].sum())
        interval = binomtest(hits, count).proportion_ci(confidence_level=0.95, method="wilson")
        mean = float(np.asarray(confidences)[rows].mean())
        bins.append(ReliabilityBin(count, mean, hits / count, float(interval.low), float(interval.high)))
    return bins


def _squared_error(confidences: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared error of several samples, (samples,). Args: (samples, n) each."""
    order = np.argsort(confidences, axis=1, kind="stable")
    confidences, right = np.take_along_axis(confidences, order, 1), np.take_along_axis(right, order, 1)
    total = np.zeros(len(confidences))
    for columns in np.array_split(np.arange(confidences.shape[1]), _count_bins(confidences.shape[1])):
        count = len(columns)
        accuracy, confidence = right[:, columns].mean(axis=1), confidences[:, columns].mean(axis=1)
        total += count * ((accuracy - confidence) ** 2 - accuracy * (1 - accuracy) / (count - 1))
    return np.asarray(total / confidences.shape[1])


def _count_bins(count: int) -> int:
    return int(np.clip(count // _BIN_IMAGES, 1, _MOST_BINS))
