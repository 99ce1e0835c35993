"""Measure whether recent images differ from the images that the model learned from.

All functions are pure: the same samples give the same scores. docs/decisions/0070 says what counts as drift, and why.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ml.confidence.novelty import KNOWN_CALLED_NOVEL
from ml.confidence.paired_scores import holm

MINIMUM_IMAGES = 30  # fewer images in either sample are too few for a score
SIGNIFICANCE = 0.01  # for all comparisons of a night together
CONSIDERABLE_PSI = 0.2  # a change with a smaller PSI is no drift. Source: Siddiqi, Credit Risk Scorecards (2006)
CONSIDERABLE_NOVEL_SHARE = 2 * KNOWN_CALLED_NOVEL
PERMUTATIONS = 999

_BINS = 10  # of confidences
_MMD_IMAGES = 300  # per sample: the size of the kernel grows with the square
_SEED = 0  # the same samples have the same p-values
_ROUNDING = 1e-12  # difference of two sums of the same numbers in another order

Floats = NDArray[np.floating]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """The answers of one model to some images.

    Args:
        confidences: (n,).
        top_classes: the class of each answer, (n,); an empty text if the answer has none.
        features: (m, feature count), of the m images whose features are stored.
        novel: whether each image seems to show none of the known classes, (k,), of those whose novelty was measured.
            The reference is the evaluation set, because the threshold was fitted on the snapshot.
    """

    confidences: Floats
    top_classes: NDArray[np.str_]
    features: Floats
    novel: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))


@dataclass(frozen=True)
class Shift:
    """A distance between two samples, and the probability that chance alone gives one as large or larger, 0 to 1."""

    score: float
    p_value: float


@dataclass(frozen=True)
class DriftScores:
    """Distances between recent images and the images that the model learned from.

    Args:
        confidence_psi: PSI of the confidences.
        confidence: Kolmogorov-Smirnov distance of the confidences.
        classes: PSI of the classes answered.
        features: squared maximum mean discrepancy; None if too few features are stored.
        novelty: share of novel images among the recent ones; None if too few were measured.
    """

    confidence_psi: float
    confidence: Shift
    classes: Shift
    features: Shift | None
    novelty: Shift | None

    @property
    def moved(self) -> list[str]:
        """Return which of `confidence`, `classes`, `features` and `novelty` drift: significantly and considerably."""
        shifts = {"confidence": self.confidence, "classes": self.classes}
        if self.features is not None:
            shifts["features"] = self.features
        if self.novelty is not None:
            shifts["novelty"] = self.novelty
        sizes = {"confidence": self.confidence_psi, "classes": self.classes.score}
        if self.novelty is not None:
            is_considerable = self.novelty.score >= CONSIDERABLE_NOVEL_SHARE
            sizes["novelty"] = CONSIDERABLE_PSI if is_considerable else 0.0
        adjusted = holm([shift.p_value for shift in shifts.values()])
        return [
            name
            for name, p_value in zip(shifts, adjusted, strict=True)
            if p_value < SIGNIFICANCE and sizes.get(name, CONSIDERABLE_PSI) >= CONSIDERABLE_PSI
        ]


def measure_drift(reference: Sample, recent: Sample) -> DriftScores | None:
    """Compare recent images with the images that the model learned from.

    Args: reference, answers to images that they were not fitted to: a model is more confident about those.
    Returns: None if either sample has fewer than MINIMUM_IMAGES.
    """
    if min(len(reference.confidences), len(recent.confidences)) < MINIMUM_IMAGES:
        return None
    confidences = reference.confidences, recent.confidences
    novel = reference.novel, recent.novel
    has_features = min(len(reference.features), len(recent.features)) >= MINIMUM_IMAGES
    return DriftScores(
        confidence_psi=confidence_psi(*confidences),
        confidence=kolmogorov_smirnov(*confidences),
        classes=class_shift(*_count_answers(reference.top_classes, recent.top_classes)),
        features=maximum_mean_discrepancy(reference.features, recent.features) if has_features else None,
        novelty=novelty_shift(*novel) if min(len(each) for each in novel) >= MINIMUM_IMAGES else None,
    )


def novelty_shift(reference: NDArray[np.bool_], recent: NDArray[np.bool_]) -> Shift:
    """Compare the shares of novel images. The score is the share among the recent ones.

    Args: whether each image is novel, (n,) and (m,).
    Source: Fisher's exact test, one-sided: scipy.stats.fisher_exact.
    """
    from scipy.stats import fisher_exact  # noqa: PLC0415 - 1 s

    counts = [[int(each.sum()), int((~each).sum())] for each in (recent, reference)]
    return Shift(float(recent.mean()), float(fisher_exact(counts, alternative="greater").pvalue))


def psi(reference: Counts, recent: Counts) -> NDArray[np.float64]:
    """Compute the population stability index: the sum of (q - p) ln(q / p) over bins, with the shares p and q.

    Half a count is added to each bin, so that no share is 0. For n and m images of one distribution, the index is about
    (bins - 1)(1/n + 1/m).

    Args: counts, (..., bins).
    Returns: (...), 0 if the counts are the same.
    Source: Siddiqi, Credit Risk Scorecards (2006); Yurdakul, Naranjo, Journal of Risk Model Validation 14 (2020).
    """
    p, q = ((counts + 0.5) / (counts + 0.5).sum(axis=-1, keepdims=True) for counts in (reference, recent))
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def confidence_psi(reference: Floats, recent: Floats) -> float:
    """Compute the PSI of confidences, in bins that have a tenth of the reference each.

    Args: (n,) and (m,).
    """
    edges = np.unique(np.quantile(reference, np.arange(1, _BINS) / _BINS))
    counts = (np.bincount(np.digitize(each, edges), minlength=len(edges) + 1) for each in (reference, recent))
    return float(psi(*counts))


def kolmogorov_smirnov(reference: Floats, recent: Floats) -> Shift:
    """Compute the largest distance between two distribution functions, with its two-sided p-value.

    Args: (n,) and (m,).
    Source: scipy.stats.ks_2samp; Hodges, Arkiv för Matematik 3 (1958).
    """
    from scipy.stats import ks_2samp  # noqa: PLC0415 - 1 s

    found = ks_2samp(reference, recent)
    return Shift(float(found.statistic), float(found.pvalue))


def class_shift(reference: Counts, recent: Counts) -> Shift:
    """Compute the PSI of the classes answered. The p-value is from random permutations of the same answers.

    Args: number of answers with each class, (classes,).
    Source: of the p-value: Phipson, Smyth, Statistical Applications in Genetics and Molecular Biology 9 (2010).
    """
    is_answered = reference + recent > 0
    reference, recent = reference[is_answered], recent[is_answered]
    random = np.random.default_rng(_SEED)
    permuted = random.multivariate_hypergeometric(reference + recent, recent.sum(), PERMUTATIONS)
    return _against_chance(float(psi(reference, recent)), psi(reference + recent - permuted, permuted))


def maximum_mean_discrepancy(reference: Floats, recent: Floats) -> Shift:
    """Estimate the squared MMD without bias, with a Gaussian kernel of the median distance's width; p by permutation.

    For samples of one distribution it is about 0, and may be a little below. At most 300 images per sample are used,
    drawn at random.

    Args: (n, dimensions) and (m, dimensions).
    Source: Gretton, Borgwardt, Rasch, Schölkopf, Smola, Journal of Machine Learning Research 13 (2012), equation 3.
    """
    random = np.random.default_rng(_SEED)
    thinned = [random.permutation(each)[:_MMD_IMAGES] for each in (reference, recent)]
    kernel = _kernel(np.concatenate(thinned).astype(np.float64))
    is_recent = np.repeat([0.0, 1.0], [len(each) for each in thinned])
    permuted = random.permuted(np.tile(is_recent, (PERMUTATIONS, 1)), axis=1)
    observed, *chance = _squared_mmd(kernel, np.vstack([is_recent, permuted]))
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
    """Return the Gaussian kernel, (n, n). Its diagonal is 0: the unbiased estimate compares no vector with itself."""
    from scipy.spatial.distance import pdist, squareform  # noqa: PLC0415 - 1 s

    squared = pdist(vectors, "sqeuclidean")
    kernel: NDArray[np.float64] = squareform(np.exp(-squared / (2 * (np.median(squared) or 1.0))))
    return kernel


def _squared_mmd(kernel: NDArray[np.float64], is_recent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate the squared MMD for several ways to divide the same vectors into two samples.

    Args: is_recent, 0 or 1, (divisions, n).
    """
    m = int(is_recent[0].sum())
    n = len(kernel) - m
    within_recent = ((is_recent @ kernel) * is_recent).sum(axis=1)
    between = is_recent @ kernel.sum(axis=1) - within_recent
    within_reference = kernel.sum() - 2 * between - within_recent
    return np.asarray(within_reference / (n * (n - 1)) + within_recent / (m * (m - 1)) - 2 * between / (n * m))
