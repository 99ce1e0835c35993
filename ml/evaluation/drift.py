"""Whether what comes in has moved away from what the model learned from. Pure: the same samples give the same scores.

What counts as drift, and why: docs/decisions/0070.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.evaluation.gate import holm

MINIMUM_IMAGES = 30  # fewer on either side say nothing
SIGNIFICANCE = 0.01  # of all comparisons of a night together
CONSIDERABLE_PSI = 0.2  # below, significant is not yet worth a message. Source: Siddiqi, Credit Risk Scorecards (2006)
PERMUTATIONS = 999

_BINS = 10  # of confidences
_MMD_IMAGES = 300  # of either side: the kernel grows with the square
_SEED = 0  # the same samples have the same p-values
_ROUNDING = 1e-12  # between two sums of the same numbers in another order

Floats = NDArray[np.floating]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """What one model says of some images.

    Args:
        confidences: (n,).
        top_classes: what is answered, (n,); an empty text where nothing is.
        features: (m, feature count), of those of the images whose features are kept.
    """

    confidences: Floats
    top_classes: NDArray[np.str_]
    features: Floats


@dataclass(frozen=True)
class Shift:
    """A distance between two samples, and how likely chance alone makes one as large or larger, 0 to 1."""

    score: float
    p_value: float


@dataclass(frozen=True)
class DriftScores:
    """How far recent images are from those that the model learned from.

    Args:
        confidence_psi: of how sure the answers are.
        confidence: Kolmogorov and Smirnov's distance of that.
        classes: PSI of what is answered.
        features: squared maximum mean discrepancy; None where too few features are kept.
    """

    confidence_psi: float
    confidence: Shift
    classes: Shift
    features: Shift | None

    @property
    def moved(self) -> list[str]:
        """Which of `confidence`, `classes` and `features` drift: beyond chance and, where PSI says so, considerably."""
        shifts = {"confidence": self.confidence, "classes": self.classes}
        if self.features is not None:
            shifts["features"] = self.features
        sizes = {"confidence": self.confidence_psi, "classes": self.classes.score}
        adjusted = holm([shift.p_value for shift in shifts.values()])
        return [
            name
            for name, p_value in zip(shifts, adjusted, strict=True)
            if p_value < SIGNIFICANCE and sizes.get(name, CONSIDERABLE_PSI) >= CONSIDERABLE_PSI
        ]


def measure_drift(reference: Sample, recent: Sample) -> DriftScores | None:
    """Compare recent images with those that the model learned from.

    Args: reference, images that it was not fitted to: it is surer of those that it was.
    Returns: None where either side has fewer than MINIMUM_IMAGES.
    """
    if min(len(reference.confidences), len(recent.confidences)) < MINIMUM_IMAGES:
        return None
    confidences = reference.confidences, recent.confidences
    has_features = min(len(reference.features), len(recent.features)) >= MINIMUM_IMAGES
    return DriftScores(
        confidence_psi=confidence_psi(*confidences),
        confidence=kolmogorov_smirnov(*confidences),
        classes=class_shift(*_count_answers(reference.top_classes, recent.top_classes)),
        features=maximum_mean_discrepancy(reference.features, recent.features) if has_features else None,
    )


def psi(reference: Counts, recent: Counts) -> NDArray[np.float64]:
    """Population stability index: the sum of (q - p) ln(q / p) over bins, p and q the shares of either side.

    Half a count is added to each bin, so that an empty one has a share. Chance alone makes about
    (bins - 1)(1/n + 1/m) of n and m images.

    Args: counts, (..., bins).
    Returns: (...), 0 where the counts are the same.
    Source: Siddiqi, Credit Risk Scorecards (2006); Yurdakul, Naranjo, Journal of Risk Model Validation 14 (2020).
    """
    p, q = ((counts + 0.5) / (counts + 0.5).sum(axis=-1, keepdims=True) for counts in (reference, recent))
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def confidence_psi(reference: Floats, recent: Floats) -> float:
    """PSI of confidences, in bins that hold a tenth of the reference each.

    Args: (n,) and (m,).
    """
    edges = np.unique(np.quantile(reference, np.arange(1, _BINS) / _BINS))
    counts = (np.bincount(np.digitize(each, edges), minlength=len(edges) + 1) for each in (reference, recent))
    return float(psi(*counts))


def kolmogorov_smirnov(reference: Floats, recent: Floats) -> Shift:
    """The largest distance between two distribution functions, with its two-sided p-value.

    Args: (n,) and (m,).
    Source: scipy.stats.ks_2samp; Hodges, Arkiv för Matematik 3 (1958).
    """
    from scipy.stats import ks_2samp  # noqa: PLC0415 - 1 s

    found = ks_2samp(reference, recent)
    return Shift(float(found.statistic), float(found.pvalue))


def class_shift(reference: Counts, recent: Counts) -> Shift:
    """PSI of how often each class is answered, against what dealing the same answers out by chance gives.

    Args: answers of each class, (classes,).
    Source: of the p-value: Phipson, Smyth, Statistical Applications in Genetics and Molecular Biology 9 (2010).
    """
    is_answered = reference + recent > 0
    reference, recent = reference[is_answered], recent[is_answered]
    random = np.random.default_rng(_SEED)
    dealt = random.multivariate_hypergeometric(reference + recent, recent.sum(), PERMUTATIONS)
    return _against_chance(float(psi(reference, recent)), psi(reference + recent - dealt, dealt))


def maximum_mean_discrepancy(reference: Floats, recent: Floats) -> Shift:
    """Squared MMD, the unbiased estimate, with a Gaussian kernel as wide as the median distance; p by permutation.

    It is about 0, also a little below, where both sides are alike. No more than 300 images a side are looked at, drawn
    by chance.

    Args: (n, dimensions) and (m, dimensions).
    Source: Gretton, Borgwardt, Rasch, Schölkopf, Smola, Journal of Machine Learning Research 13 (2012), equation 3.
    """
    random = np.random.default_rng(_SEED)
    thinned = [random.permutation(each)[:_MMD_IMAGES] for each in (reference, recent)]
    kernel = _kernel(np.concatenate(thinned).astype(np.float64))
    is_recent = np.repeat([0.0, 1.0], [len(each) for each in thinned])
    dealt = random.permuted(np.tile(is_recent, (PERMUTATIONS, 1)), axis=1)
    observed, *chance = _squared_mmd(kernel, np.vstack([is_recent, dealt]))
    return _against_chance(float(observed), np.array(chance))


def _count_answers(reference: NDArray[np.str_], recent: NDArray[np.str_]) -> tuple[Counts, Counts]:
    _, numbers = np.unique(np.concatenate([reference, recent]), return_inverse=True)
    both = numbers[: len(reference)], numbers[len(reference) :]
    before, now = (np.bincount(each, minlength=int(numbers.max()) + 1) for each in both)
    return before, now


def _against_chance(score: float, chance: Floats) -> Shift:
    as_large = int((chance >= score - _ROUNDING).sum())
    return Shift(score, (1 + as_large) / (1 + len(chance)))


def _kernel(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian, (n, n), with a diagonal of 0: the unbiased estimate leaves out what compares a vector with itself."""
    from scipy.spatial.distance import pdist, squareform  # noqa: PLC0415 - 1 s

    squared = pdist(vectors, "sqeuclidean")
    kernel: NDArray[np.float64] = squareform(np.exp(-squared / (2 * (np.median(squared) or 1.0))))
    return kernel


def _squared_mmd(kernel: NDArray[np.float64], is_recent: NDArray[np.float64]) -> NDArray[np.float64]:
    """The estimate for each way to divide the same vectors in two.

    Args: is_recent, 0 or 1, (divisions, n).
    """
    m = int(is_recent[0].sum())
    n = len(kernel) - m
    within_recent = ((is_recent @ kernel) * is_recent).sum(axis=1)
    between = is_recent @ kernel.sum(axis=1) - within_recent
    within_reference = kernel.sum() - 2 * between - within_recent
    return np.asarray(within_reference / (n * (n - 1)) + within_recent / (m * (m - 1)) - 2 * between / (n * m))
