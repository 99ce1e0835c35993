"""Find labels that a model's cross-fitted answers contradict surely: confident learning.

Source: Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021),
section 3.1: the off-diagonal entries of the confident joint, as in cleanlab's `find_label_issues`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class SuspectedLabel(NamedTuple):
    """A label that an answer contradicts surely.

    Args:
        row: of the answers.
        suspected: index of the class that the answer says.
        doubt: how much more probable that class is than the label, 0 to 1.
    """

    row: int
    suspected: int
    doubt: float


def find_label_errors(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> list[SuspectedLabel]:
    """Return the suspected labels, the surest first.

    A class counts for an item if its probability is at least the mean probability of that class among the items with
    its label: so a class that the model seldom names surely has a lower threshold. If the most probable class that
    counts is not the label, the label is suspected.

    Args:
        probabilities: (n, classes); each answer by a model that was not fitted on the item or its group.
        labels: class indices, (n,).
    """
    classes = probabilities.shape[1]
    present = np.isin(np.arange(classes), labels)
    means = [probabilities[labels == each, each].mean() if present[each] else np.inf for each in range(classes)]
    counting = np.where(probabilities >= np.array(means), probabilities, -1.0)
    suspected = counting.argmax(axis=1)
    rows = np.flatnonzero((counting.max(axis=1) > 0) & (suspected != labels))
    doubts = probabilities[rows, suspected[rows]] - probabilities[rows, labels[rows]]
    found = [
        SuspectedLabel(int(row), int(suspected[row]), float(doubt))
        for row, doubt in zip(rows, doubts, strict=True)
        if doubt > 0
    ]
    return sorted(found, key=lambda each: -each.doubt)
