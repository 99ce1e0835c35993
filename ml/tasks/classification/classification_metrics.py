"""Metrics of a classifier: accuracy, precision, recall, F1 and the confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class.

    Args:
        image_count: number of images whose true class this is.
        precision, recall, f1: 0 to 1; 0 if the class was never predicted, or has no images.
    """

    image_count: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Metrics:
    """The metrics of one model on one set of images.

    Args:
        accuracy: share of right answers, 0 to 1.
        precision_macro, recall_macro, f1_macro: means over the classes that have images.
        per_class: metrics of every class by its name.
        confusion: confusion[i][j] images of class i were classified as class j, in the order of the classes.
    """

    accuracy: float
    precision_macro: float
    recall_macro: float
    f1_macro: float
    per_class: dict[str, ClassMetrics]
    confusion: list[list[int]]

    @property
    def image_count(self) -> int:
        """Return the number of images that were scored."""
        return sum(each.image_count for each in self.per_class.values())


def measure(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]) -> Metrics:
    """Compare predicted with true classes. A class without images is listed, but the means leave it out.

    Args:
        labels, predicted: class indices, (n,), n from 1.
        classes: names, in the order of the indices.
    Raises: ValueError, no images, different lengths, or an index without a name.
    Source: scikit-learn's definitions; undefined ratios are 0.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # noqa: PLC0415 - 1 s

    _check(labels, predicted, len(classes))
    indices = np.arange(len(classes))
    figures = precision_recall_fscore_support(labels, predicted, labels=indices, zero_division=0)
    precision, recall, f1, counts = figures
    has_images = counts > 0
    return Metrics(
        accuracy=float((labels == predicted).mean()),
        precision_macro=float(precision[has_images].mean()),
        recall_macro=float(recall[has_images].mean()),
        f1_macro=float(f1[has_images].mean()),
        per_class={
            name: ClassMetrics(int(counts[i]), float(precision[i]), float(recall[i]), float(f1[i]))
            for i, name in enumerate(classes)
        },
        confusion=confusion_matrix(labels, predicted, labels=indices).tolist(),
    )


def _check(labels: NDArray[np.int64], predicted: NDArray[np.int64], class_count: int) -> None:
    if labels.shape != predicted.shape or labels.ndim != 1 or len(labels) == 0:
        raise ValueError(
            f"Expected as many labels as predictions, one or more. Received: {labels.shape} and {predicted.shape}"
        )
    lowest = min(labels.min(), predicted.min())
    highest = max(labels.max(), predicted.max())
    if lowest < 0 or highest >= class_count:
        raise ValueError(f"Expected class indices from 0 to {class_count - 1}. Received: {lowest} to {highest}")
