"""Cross-fitted answers: each image is answered by a head that was fitted without the image's group. Pure functions."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
_SEED = 0  # the same images are divided in the same way

Labels = NDArray[np.int64]
Rows = NDArray[np.intp]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Division:
    """The rows that a head is fitted on, and the rows that it answers. No group has rows in both."""

    fitted: Rows
    answered: Rows


def divide_by_group(labels: Labels, groups: Sequence[str]) -> list[Division]:
    """Divide images into folds of about equal size and class shares.

    Args:
        labels: class indices, (n,).
        groups: the group of each image, n values.
    Returns: one division for each fold; fewer than FOLDS, perhaps none, if no class has that many images, or if there
        are not that many groups.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 - a second

    names, numbers = np.unique(groups, return_inverse=True)
    folds = min(FOLDS, len(names), int(np.bincount(labels).max(initial=0)))
    if folds < 2:
        return []
    divider = StratifiedGroupKFold(folds, shuffle=True, random_state=_SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer images than folds is in some of them
        divisions = [Division(*rows) for rows in divider.split(numbers, labels, numbers)]
    return [each for each in divisions if len(each.fitted) and len(each.answered)]


def cross_fit(
    count: int,
    labels: Labels,
    class_count: int,
    divisions: Sequence[Division],
    answer: Callable[[Division], Floats],
) -> Floats:
    """Answer images with heads that were fitted without them.

    Args:
        count: number of images, n.
        labels: class indices, (n,).
        answer: fits a head on the rows of a division, and returns the probabilities of the other rows, (rows, classes).
    Returns: (n, class_count). NaN for an image that no division answers, or whose class no other group shows.
    """
    answers = np.full((count, class_count), np.nan, np.float32)
    for division in divisions:
        known = np.isin(labels[division.answered], labels[division.fitted])
        answers[division.answered[known]] = answer(division)[known]
    return answers


def is_answered(answers: Floats) -> NDArray[np.bool_]:
    """Return which images have a cross-fitted answer, (n,)."""
    return np.asarray(~np.isnan(answers).any(axis=1))


def log_loss(answers: Floats, labels: Labels) -> float:
    """Return the mean negative logarithm of the probability of the right class, over the answered images."""
    rows = np.flatnonzero(is_answered(answers))
    right = np.maximum(answers[rows, labels[rows]], np.finfo(np.float32).tiny)
    return float(-np.log(right).mean()) if len(rows) else float("nan")
