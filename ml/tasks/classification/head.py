"""The head: one dense softmax layer over the backbone's features, in NumPy."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ml.backbones.standardisation import Standardisation
from ml.errors import ModelLoadError


@dataclass(frozen=True)
class Head:
    """A dense softmax layer.

    Args:
        kernel: float32, (features, classes).
        bias: float32, (classes,).
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def feature_count(self) -> int:
        """Return the number of features per image."""
        return int(self.kernel.shape[0])

    def classify(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute probabilities from features.

        Args: features, float32, (n, feature_count).
        Returns: float32, (n, classes); each row adds up to 1.
        """
        logits = features @ self.kernel + self.bias
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float32)

    def locate(self, activations: NDArray[np.float32], class_index: int) -> NDArray[np.float32]:
        """Compute the class activation map of one image. Its mean and the bias add up to the logit of the class.

        This is exact, because the features are the mean of the activations, and the head is linear up to the logits.

        Args: activations, float32, (feature_count, rows, columns).
        Returns: float32, (rows, columns).
        Source: arXiv 1512.04150.
        """
        return np.asarray(np.tensordot(self.kernel[:, class_index], activations, axes=1), dtype=np.float32)


def fold_into(standardisation: Standardisation, head: Head) -> Head:
    """Convert a head for standardised features to one for plain features, so that serving needs no standardisation."""
    kernel = head.kernel * standardisation.scale[:, np.newaxis]
    bias = head.bias - standardisation.mean @ kernel
    return Head(kernel.astype(np.float32), bias.astype(np.float32))


def take_out_of(standardisation: Standardisation, head: Head) -> Head:
    """Convert a head for plain features to one for standardised features; the reverse of `fold_into`."""
    scale = standardisation.scale
    deviation = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    kernel = head.kernel * deviation[:, np.newaxis]
    bias = head.bias + standardisation.mean @ head.kernel
    return Head(kernel.astype(np.float32), bias.astype(np.float32))


def save_head(head: Head, path: Path) -> None:
    """Write a head as a NumPy archive with the arrays `kernel` and `bias`."""
    np.savez(path, kernel=head.kernel, bias=head.bias)


def load_head(path: Path, class_count: int) -> Head:
    """Read a head for any number of features.

    Raises: ModelLoadError, the file is not a head, or has another number of classes.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            head = Head(archive["kernel"], archive["bias"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ModelLoadError(
            f"Expected a NumPy archive with kernel and bias at {path}. It does not load ({error}). "
            "Download the model version again."
        ) from error
    if head.kernel.ndim != 2 or head.kernel.shape[1] != class_count or head.bias.shape != (class_count,):
        raise ModelLoadError(
            f"Expected a head of shapes (features, {class_count}) and ({class_count},) at {path}. "
            f"Received: {head.kernel.shape} and {head.bias.shape}. Register the model again from one training run."
        )
    return head
