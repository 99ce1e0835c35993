"""Standardise features for training: zero mean and unit standard deviation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONSTANT_RATIO = 1e-6  # a feature counts as constant below this share of the largest standard deviation


@dataclass(frozen=True)
class Standardisation:
    """x -> (x - mean) * scale, per feature.

    Args:
        mean: float64, (features,).
        scale: float64, (features,); 1 / standard deviation, or 0 for a feature that is constant.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> "Standardisation":
        """Measure mean and deviation on the features of the training fold, (n, features)."""
        deviation = features.std(axis=0, dtype=np.float64)
        is_varied = deviation > CONSTANT_RATIO * deviation.max()
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=is_varied)
        return cls(features.mean(axis=0, dtype=np.float64), scale)

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise features, (n, features)."""
        with np.errstate(over="ignore"):  # training checks the loss for infinities
            return np.asarray((features - self.mean) * self.scale, dtype=np.float32)
