"""Fit the head as a logistic regression: a convex problem, whose only optimum depends on no seed and no epoch.

docs/decisions/0099 compares it with training by Adam.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.backbones.standardisation import Standardisation
from ml.confidence.cross_fitting import Division, cross_fit, log_loss
from ml.deadlines import Deadline
from ml.errors import TimeOverError, TrainingError
from ml.progress import Progress
from ml.tasks.classification.head import Head, fold_into

# C of scikit-learn's LogisticRegression, on standardised features. The loss is flat: values between change little.
# The first is tried first: it stays if there is no time or no answer to compare by.
STRENGTHS = (0.1, 1.0, 0.01)
_ITERATIONS = 1000
_ABSENT = -50.0  # logit of a class that the rows do not show

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ConvexFit:
    """A head, and the choice of its regularisation.

    Args:
        head: fitted on all rows that were given for it, at the chosen strength.
        strength: the inverse regularisation with the lowest cross-fitted log loss.
        answers: cross-fitted probabilities at that strength, as ml.confidence.cross_fitting.cross_fit returns them.
        loss: its cross-fitted log loss; NaN without answers.
    """

    head: Head
    strength: float
    answers: Floats
    loss: float


def fit_convex_head(
    features: Floats,
    labels: Labels,
    class_count: int,
    divisions: Sequence[Division],
    fitted: NDArray[np.intp],
    deadline: Deadline,
    on_progress: Progress | None = None,
) -> ConvexFit:
    """Choose the regularisation by cross-fitting, and fit the head.

    Args:
        features: of views of n images, float32 (views, n, feature count). Images are answered in their first view.
        labels: class indices, (n,).
        divisions: of the n images, for the cross-fitted answers.
        fitted: rows of the images that the head is fitted on.
        deadline: no further head is fitted then, but the last one.
        on_progress: called with (fits done, fits to do).
    Raises: TrainingError, the features are not finite, or there was no time.
    """
    if not np.isfinite(features).all():
        raise TrainingError(
            "Expected finite features. Received NaN or infinity. The weights of the backbone are damaged: use others."
        )
    strengths = STRENGTHS if divisions else STRENGTHS[:1]
    total = len(strengths) * len(divisions) + 1
    tried = list(_cross_fit(features, labels, class_count, divisions, strengths, deadline, on_progress))
    if not tried:
        raise TrainingError(
            "Expected time for one fit of the head on each fold. The budget was used up before. "
            "Raise MYCOFLOW_TRAINING_BUDGET_MINUTES or take a smaller snapshot."
        )
    best = min(tried, key=lambda each: each.loss)  # the first one if there are no answers to compare by
    head = _fit(features[:, fitted], labels[fitted], class_count, best.strength)
    if on_progress:
        on_progress(total, total)
    return ConvexFit(head, best.strength, best.answers, best.loss)


class _Tried(NamedTuple):
    """What a strength gives in cross-fitting; see ConvexFit."""

    strength: float
    answers: Floats
    loss: float


def _cross_fit(
    features: Floats,
    labels: Labels,
    class_count: int,
    divisions: Sequence[Division],
    strengths: Sequence[float],
    deadline: Deadline,
    on_progress: Progress | None,
) -> Iterator[_Tried]:
    """Cross-fit with each strength, and end early at the deadline."""
    total, done = len(strengths) * len(divisions) + 1, itertools.count(1)

    def answer(strength: float, division: Division) -> Floats:
        if not deadline.remaining():
            raise TimeOverError("The training budget is used up.")
        head = _fit(features[:, division.fitted], labels[division.fitted], class_count, strength)
        if on_progress:
            on_progress(next(done), total)
        return head.classify(features[0, division.answered])

    for strength in strengths:
        try:
            answers = cross_fit(len(labels), labels, class_count, divisions, partial(answer, strength))
        except TimeOverError:
            return
        yield _Tried(strength, answers, log_loss(answers, labels))


def _fit(features: Floats, labels: Labels, class_count: int, strength: float) -> Head:
    """Fit on views of images, (views, n, feature count). All views of an image together weigh 1."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a second

    views, _, feature_count = features.shape
    shown, kernel, bias = np.unique(labels), np.zeros((feature_count, class_count)), np.full(class_count, _ABSENT)
    bias[shown] = 0
    standardisation = Standardisation.of(features.reshape(-1, feature_count))
    if len(shown) > 1:
        regression = LogisticRegression(C=strength / views, max_iter=_ITERATIONS)
        regression.fit(standardisation.apply(features.reshape(-1, feature_count)), np.tile(labels, views))
        weights, offsets = regression.coef_.T, regression.intercept_
        if len(shown) == 2:  # one logit, the second class's advantage
            weights, offsets = np.hstack([-weights / 2, weights / 2]), np.array([-offsets[0] / 2, offsets[0] / 2])
        kernel[:, shown], bias[shown] = weights, offsets
    return fold_into(standardisation, Head(kernel.astype(np.float32), bias.astype(np.float32)))
