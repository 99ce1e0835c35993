"""Turn probabilities into answers, and compare answers with labels. Pure functions."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from ml.catalog.annotations import Annotation
from ml.catalog.answers import Answer
from ml.confidence.calibration import measure_calibration
from ml.confidence.estimation import share_of
from ml.tasks.classification.classification_metrics import measure
from ml.tasks.task import Figures, Scores


def rank_classes(
    probabilities: NDArray[np.float32], classes: Sequence[str], novelties: Sequence[float | None] | None = None
) -> list[Answer]:
    """Turn probabilities, (n, classes), into answers with the most probable class and its margin over the second.

    Args: novelties, of the n items; not measured if None.
    """
    novelties = [None] * len(probabilities) if novelties is None else novelties
    best = probabilities.argmax(axis=1)
    ordered = np.sort(probabilities, axis=1)
    return [
        Answer(classes[index], float(first), float(first - second), row, novelty)
        for index, first, second, row, novelty in zip(
            best, ordered[:, -1], ordered[:, -2], probabilities, novelties, strict=True
        )
    ]


def measure_answers(annotations: Sequence[Annotation], answers: Sequence[Answer], classes: Sequence[str]) -> Figures:
    """Compute accuracy, precision, recall, F1, the calibration error, and the share of items called novel.

    Args: answers, to items that the model was not fitted on: of others, it is surer than it may be.
    """
    figures = measure_names(annotations, answers, classes)
    scores = score_answers(annotations, answers).items
    return replace(figures, shares={**figures.shares, **_describe_confidence(answers, scores == 1)})


def measure_names(annotations: Sequence[Annotation], answers: Sequence[Answer], classes: Sequence[str]) -> Figures:
    """Compute accuracy, precision, recall and F1."""
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


def _describe_confidence(answers: Sequence[Answer], right: NDArray[np.bool_]) -> dict[str, float]:
    """Return the calibration error, and the share of known items called novel, each with its interval, if measured."""
    figures: dict[str, float] = {}
    calibration = measure_calibration(np.array([answer.confidence for answer in answers]), right)
    if calibration is not None:
        figures["calibration_error"] = calibration.error
        figures["calibration_error_low"] = calibration.low
        figures["calibration_error_high"] = calibration.high
    measured = [answer for answer in answers if answer.novelty is not None]
    if measured:
        novel = share_of(sum(answer.is_novel for answer in measured), len(measured))
        figures["known_called_novel"] = novel.share
        figures["known_called_novel_low"] = novel.low
        figures["known_called_novel_high"] = novel.high
    return figures


def score_answers(annotations: Sequence[Annotation], answers: Sequence[Answer | None]) -> Scores:
    """Score 1 for each item whose top class is right, and 0 for the others."""
    labels = np.array([single_class(annotation) for annotation in annotations])
    predicted = [None if answer is None else answer.top_class for answer in answers]
    right = np.array([name == label for name, label in zip(predicted, labels, strict=True)], np.float64)
    return Scores.of_labels(labels, right)


def single_class(annotation: Annotation) -> str:
    """Return the only class of an item."""
    (label,) = annotation.class_names
    return label


def encode_answer(answer: Answer, classes: Sequence[str], count: int) -> list[dict[str, object]]:
    """Return the most probable classes, best first, with their probabilities in percent, two decimals."""
    best = np.argsort(-answer.probabilities, kind="stable")[:count]
    return [{"name": classes[index], "proba": round(100 * float(answer.probabilities[index]), 2)} for index in best]
