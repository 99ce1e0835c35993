"""Novelty: how unlike all known images an image is. Imports NumPy alone.

Two things make an image novel: its features are far from those of all known images, and the model doubts its answer. A
screenshot is far away. Another mushroom is near, but the model hesitates among the known ones. Each is turned into its
surprise: -log of the share of known images that are at least as far, or as doubtful. The novelty is the sum of both
surprises, as a multiple of the version's threshold.

docs/decisions/0100 compares this measure with others.

Sources: distance to the k-th nearest neighbour of normalised features, Sun, Ming, Zhu, Li, arXiv 2204.06507; doubt as
the maximum softmax probability, Hendrycks, Gimpel, arXiv 1610.02136; the sum of surprises, Fisher's combined test
(Statistical Methods for Research Workers, 1925); the exponential tail, peaks over a threshold, Pickands, Annals of
Statistics 3 (1975).
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelLoadError

NOVELTY_FILE = "novelty.npz"
KNOWN_CALLED_NOVEL = 0.05  # share of known images that the threshold calls novel
_NEIGHBOUR = 5
_MOST_REFERENCES = 2000  # more make answers slower, and change the distances little
_QUANTILES = 201
_TAIL = 0.1  # share of the known values whose distribution is taken as exponential
_TAIL_BEGINS = 180  # index of the quantile
_LEAST_EXCESS = 1e-3  # where the known values hardly differ, such a small difference is no surprise
_SEED = 0
_SMALLEST = 1e-12

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class References:
    """Features of known images, each of length 1: float32 (n, feature count)."""

    directions: NDArray[np.float32]

    @classmethod
    def of(cls, features: Floats) -> "References":
        """Keep the features of known images, (n, feature count), n from 1."""
        if len(features) > _MOST_REFERENCES:
            features = np.random.default_rng(_SEED).choice(features, _MOST_REFERENCES, replace=False, shuffle=False)
        return cls(_normalise(features).astype(np.float16).astype(np.float32))

    def distances(self, features: Floats) -> NDArray[np.float64]:
        """Return the cosine distance of images to their fifth nearest known image, (n,). Args: (n, feature count)."""
        similar = _normalise(features) @ self.directions.T
        nearest = min(_NEIGHBOUR, len(self.directions))
        return np.asarray(1 - np.partition(similar, -nearest, axis=1)[:, -nearest], np.float64)


@dataclass(frozen=True)
class Surprise:
    """How rare a value is among known images.

    Args:
        quantiles: of the known values, ascending, float64 (201,).
        excess: mean of how far the upper tenth of the known values lies beyond its beginning.
    """

    quantiles: NDArray[np.float64]
    excess: float

    @classmethod
    def of(cls, known: Floats) -> "Surprise":
        """Describe the values of known images, (n,)."""
        quantiles = np.quantile(np.asarray(known, np.float64), np.linspace(0, 1, _QUANTILES))
        beyond = np.asarray(known, np.float64) - quantiles[_TAIL_BEGINS]
        return cls(quantiles, max(float(beyond[beyond > 0].mean()) if (beyond > 0).any() else 0.0, _LEAST_EXCESS))

    def measure(self, values: Floats) -> NDArray[np.float64]:
        """Return -log of the share of known values that are at least as large, (n,).

        In the upper tenth, the share is that of an exponential distribution: it tells values apart that are larger than
        all known ones.
        """
        begins = self.quantiles[_TAIL_BEGINS]
        below = np.interp(values, self.quantiles, np.linspace(0, 1, _QUANTILES))
        usual = -np.log(np.maximum(1 - below, _TAIL))
        return np.asarray(np.where(values > begins, -np.log(_TAIL) + (values - begins) / self.excess, usual))


@dataclass(frozen=True)
class NoveltyMeasure:
    """Measures novelty.

    Args:
        references: the known images.
        distance, doubt: of known images that the references and the head were fitted without.
        threshold: the sum of surprises that calls KNOWN_CALLED_NOVEL of these images novel.
    """

    references: References
    distance: Surprise
    doubt: Surprise
    threshold: float

    @classmethod
    def of(cls, references: References, distances: Floats, confidences: Floats) -> "NoveltyMeasure":
        """Fit the surprises and the threshold.

        Args: distances, confidences: of known images that references and head were fitted without, (n,), n from 1.
        """
        distance, doubt = Surprise.of(distances), Surprise.of(1 - confidences)
        total = distance.measure(distances) + doubt.measure(1 - confidences)
        return cls(references, distance, doubt, max(float(np.quantile(total, 1 - KNOWN_CALLED_NOVEL)), _SMALLEST))

    def measure(self, features: Floats, confidences: Floats) -> NDArray[np.float64]:
        """Return the novelty of images as a multiple of the threshold, (n,).

        Args: features, (n, feature count); confidences, the probability of each answer, (n,).
        """
        surprise = self.distance.measure(self.references.distances(features)) + self.doubt.measure(1 - confidences)
        return np.asarray(surprise / self.threshold)


def save_novelty(measure: NoveltyMeasure, path: Path) -> None:
    """Write a measure as a NumPy archive."""
    np.savez(
        path,
        references=measure.references.directions.astype(np.float16),
        distance=measure.distance.quantiles,
        doubt=measure.doubt.quantiles,
        scalars=np.array([measure.distance.excess, measure.doubt.excess, measure.threshold]),
    )


def load_novelty(path: Path, feature_count: int) -> NoveltyMeasure:
    """Read a measure.

    Raises: ModelLoadError, the file is not a measure, or is one of other features.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            references = archive["references"].astype(np.float32)
            quantiles = [archive[name].astype(np.float64) for name in ("distance", "doubt")]
            scalars = archive["scalars"].astype(np.float64)
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
        raise ModelLoadError(
            f"Expected a NumPy archive with a measure of novelty at {path}. It does not load ({error}). "
            "Download the model version again."
        ) from error
    shapes = [references.shape[1:], *(each.shape for each in quantiles), scalars.shape]
    if (
        shapes != [(feature_count,), (_QUANTILES,), (_QUANTILES,), (3,)]
        or not len(references)
        or not (scalars > 0).all()
    ):
        raise ModelLoadError(
            f"Expected references of {feature_count} features, two lists of {_QUANTILES} quantiles, and three positive "
            f"numbers at {path}. Received: {shapes}, {scalars.tolist()}. Download the model version again."
        )
    distance, doubt = (Surprise(each, float(excess)) for each, excess in zip(quantiles, scalars[:2], strict=True))
    return NoveltyMeasure(References(references), distance, doubt, float(scalars[2]))


def _normalise(features: Floats) -> NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, _SMALLEST), np.float32)
