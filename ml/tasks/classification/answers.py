"""From probabilities to answers, and how answers fit labels. Pure functions."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from ml.catalog.annotations import Annotation
from ml.catalog.answers import Answer
from ml.tasks.base import Figures, Scores
from ml.tasks.classification.classification_metrics import measure


def rank_classes(probabilities: NDArray[np.float32], classes: Sequence[str]) -> list[Answer]:
    """Make answers of distributions, (n, classes): the most probable class, and how far it is ahead of the next."""
    best = probabilities.argmax(axis=1)
    ordered = np.sort(probabilities, axis=1)
    return [
        Answer(classes[index], float(first), float(first - second), row)
        for index, first, second, row in zip(best, ordered[:, -1], ordered[:, -2], probabilities, strict=True)
    ]


def measure_answers(annotations: Sequence[Annotation], answers: Sequence[Answer], classes: Sequence[str]) -> Figures:
    """Accuracy, and precision, recall and F1 over the classes."""
    index = {name: number for number, name in enumerate(classes)}
    metrics = measure(
        np.array([index[single_class(annotation)] for annotation in annotations]),
        np.array([int(answer.probabilities.argmax()) for answer in answers]),
        classes,
    )
    return Figures(
        main=metrics.accuracy,
        shares={
            "accuracy": metrics.accuracy,
            "precision_macro": metrics.precision_macro,
            "recall_macro": metrics.recall_macro,
            "f1_macro": metrics.f1_macro,
        },
        per_class={name: asdict(figures) for name, figures in metrics.per_class.items()},
        confusion=metrics.confusion,
    )


def score_answers(annotations: Sequence[Annotation], answers: Sequence[Answer | None]) -> Scores:
    """1 for each item whose class is answered first, 0 for others."""
    labels = np.array([single_class(annotation) for annotation in annotations])
    named = [None if answer is None else answer.top_class for answer in answers]
    right = np.array([name == label for name, label in zip(named, labels, strict=True)], np.float64)
    return Scores.of_labels(labels, right)


def single_class(annotation: Annotation) -> str:
    """The one class of a classified item."""
    (label,) = annotation.class_names
    return label


def encode_answer(answer: Answer, classes: Sequence[str], count: int) -> list[dict[str, object]]:
    """The most probable names, best first, with their probabilities in percent, two decimals."""
    best = np.argsort(-answer.probabilities, kind="stable")[:count]
    return [{"name": classes[index], "proba": round(100 * float(answer.probabilities[index]), 2)} for index in best]
