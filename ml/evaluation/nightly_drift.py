"""The nightly check without labels: measure whether recent images differ from those that the model learned from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from ml.app import Workspace, load_version, remember_version
from ml.catalog.annotations import Annotation
from ml.catalog.answers import Answer
from ml.catalog.images.feature_vectors import IDENTITY, load_features
from ml.catalog.logs.results import load_results
from ml.catalog.models.cross_fitted_answers import load_cross_fitted_of_version
from ml.catalog.models.drift_checks import DriftCheck, count_feedback, recent_images, reference_images, save_drift_check
from ml.catalog.models.model_versions import ModelVersion
from ml.confidence import estimation
from ml.confidence.calibration import MINIMUM_IMAGES, fit_temperature
from ml.data.evaluation_sets import current_members
from ml.evaluation.drift import DriftScores, Sample, measure_drift
from ml.evaluation.scoring import answer_items
from ml.tasks.task import Task

RECENT_IMAGES = 500  # limit for recent predictions, and for images with feedback


def check_drift(workspace: Workspace, version: int) -> DriftCheck:
    """Compare the latest predictions of a version with its validation fold, estimate its accuracy, and store both.

    The answers to the fold are those of heads that were fitted without the item: a model is surer of what it has
    learned. A version without such answers gives its own; its first check computes them.

    Args: version, which must have stored answers to the evaluation set, as the nightly scoring stores them.
    Raises: UnknownVersionError, ModelLoadError; ImageStoreError, an image's bytes cannot be read.
    """
    facts = remember_version(workspace, version)
    with workspace.catalog.begin() as connection:
        reference_ids = reference_images(connection, version)
        cross_fitted = load_cross_fitted_of_version(connection, version, reference_ids)
    unknown = [] if cross_fitted else reference_ids
    answer_items(workspace.catalog, workspace.task, version, unknown, lambda: load_version(workspace, version))
    with workspace.catalog.begin() as connection:
        known_answers = _answers_of(cross_fitted, facts) or load_results(connection, version, unknown)
        recent_answers = load_results(connection, version, recent_images(connection, version, RECENT_IMAGES))
        recent = _load_sample(connection, facts, recent_answers)
        calibration = _load_calibration(connection, facts)
        known_novel = _novel_of([answer for _, answer in calibration])
        reference = replace(_load_sample(connection, facts, known_answers), novel=known_novel)
        right, judged = count_feedback(connection, version, RECENT_IMAGES)
    estimate = _estimate(workspace.task, facts.classes, calibration, list(recent_answers.values()))
    check = _compare(version, reference, recent, len(calibration), estimate, right, judged)
    with workspace.catalog.begin() as connection:
        save_drift_check(connection, check)
    return check


def _compare(
    version: int,
    reference: Sample,
    recent: Sample,
    calibration_images: int,
    estimated_accuracy: float | None,
    right: int,
    judged: int,
) -> DriftCheck:
    counts = {
        "reference_images": len(reference.confidences),
        "recent_images": len(recent.confidences),
        "reference_features": len(reference.features),
        "recent_features": len(recent.features),
        "calibration_images": calibration_images,
        "feedback_images": judged,
    }
    return _summarise(
        version,
        counts,
        measure_drift(reference, recent),
        estimated_accuracy,
        estimation.observed_accuracy(right, judged),
    )


def _answers_of(cross_fitted: Mapping[str, np.ndarray], facts: ModelVersion) -> dict[str, Answer]:
    """Turn cross-fitted probabilities into answers. Their novelty is not known."""
    answers = {}
    for item_id, row in cross_fitted.items():
        second, first = np.sort(row)[-2:]
        answers[item_id] = Answer(facts.classes[int(row.argmax())], float(first), float(first - second), row)
    return answers


def _load_sample(connection: sa.Connection, facts: ModelVersion, answers: Mapping[str, Answer]) -> Sample:
    vectors = load_features(connection, list(answers), facts.backbone_id, [IDENTITY])
    return Sample(
        np.array([answer.confidence for answer in answers.values()], np.float32),
        np.array([answer.top_class or "" for answer in answers.values()], np.str_),
        np.array(list(vectors.values())),
        _novel_of(answers.values()),
    )


def _novel_of(answers: Iterable[Answer]) -> NDArray[np.bool_]:
    """Return whether each item is novel, of those whose novelty was measured."""
    return np.array([answer.is_novel for answer in answers if answer.novelty is not None], bool)


def _load_calibration(connection: sa.Connection, facts: ModelVersion) -> list[tuple[Annotation, Answer]]:
    """Return annotation and answer of the evaluation set's items with the version's classes."""
    known = {each.item_id: each.annotation for each in current_members(connection)}
    known = {item_id: each for item_id, each in known.items() if each.is_known(facts.classes)}
    answers = load_results(connection, facts.version, list(known))
    return [(known[item_id], answer) for item_id, answer in answers.items()]


def _estimate(
    task: Task, classes: Sequence[str], calibration: Sequence[tuple[Annotation, Answer]], recent: Sequence[Answer]
) -> float | None:
    """Estimate the accuracy; None if there are too few items, or an item may have several classes."""
    if not task.is_exclusive or min(len(calibration), len(recent)) < MINIMUM_IMAGES:
        return None
    labels = np.array([classes.index(annotation.class_names[0]) for annotation, _ in calibration])
    calibration_probabilities = np.stack([answer.probabilities for _, answer in calibration])
    temperature = fit_temperature(calibration_probabilities, labels)
    return estimation.estimate_accuracy(np.stack([answer.probabilities for answer in recent]), temperature)


def _summarise(
    version: int,
    counts: Mapping[str, int],
    scores: DriftScores | None,
    estimated_accuracy: float | None,
    observed: estimation.Share | None,
) -> DriftCheck:
    features = scores.features if scores else None
    novelty = scores.novelty if scores else None
    return DriftCheck(
        model_version=version,
        **counts,
        confidence_psi=scores.confidence_psi if scores else None,
        confidence_ks=scores.confidence.score if scores else None,
        confidence_p_value=scores.confidence.p_value if scores else None,
        class_psi=scores.classes.score if scores else None,
        class_p_value=scores.classes.p_value if scores else None,
        feature_mmd=features.score if features else None,
        feature_p_value=features.p_value if features else None,
        novel_share=novelty.score if novelty else None,
        novelty_p_value=novelty.p_value if novelty else None,
        moved=scores.moved if scores else [],
        estimated_accuracy=estimated_accuracy,
        observed_accuracy=observed.share if observed else None,
        observed_accuracy_low=observed.low if observed else None,
        observed_accuracy_high=observed.high if observed else None,
    )
