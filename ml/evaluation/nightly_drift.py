"""The nightly look at quality without labels: is what people ask about still what the model learned from?"""

from collections.abc import Mapping, Sequence

import numpy as np
import sqlalchemy as sa

from ml.app import Workspace, load_classifier, remember_version
from ml.catalog.images.feature_vectors import IDENTITY, load_features
from ml.catalog.logs.results import load_results
from ml.catalog.models.drift_checks import DriftCheck, count_feedback, recent_images, reference_images, save_drift_check
from ml.catalog.models.model_versions import ModelVersion
from ml.confidence import estimation
from ml.data.evaluation_sets import current_members
from ml.evaluation.drift import DriftScores, Sample, measure_drift
from ml.evaluation.scoring import distributions

RECENT_IMAGES = 500  # predictions to look at, and images with feedback


def check_drift(workspace: Workspace, version: int) -> DriftCheck:
    """Compare the latest predictions of a version with what it learned from, estimate its accuracy, and keep all that.

    Only the first check of a version computes something: its answers to its snapshot's validation fold.

    Args: version, one whose answers to the evaluation set are stored, as the nightly scoring leaves them.
    Raises: UnknownVersionError, ModelLoadError; ImageStoreError, an image's bytes cannot be read.
    """
    facts = remember_version(workspace, version)
    with workspace.catalog.begin() as connection:
        learned_from = reference_images(connection, version)
    distributions(workspace.catalog, version, learned_from, lambda: load_classifier(workspace, version))
    with workspace.catalog.begin() as connection:
        reference = _load_sample(connection, facts, learned_from)
        recent = _load_sample(connection, facts, recent_images(connection, version, RECENT_IMAGES))
        calibration = _load_calibration(connection, facts)
        right, judged = count_feedback(connection, version, RECENT_IMAGES)
    check = _compare(version, reference, recent, calibration, right, judged)
    with workspace.catalog.begin() as connection:
        save_drift_check(connection, check)
    return check


def _compare(
    version: int, reference: Sample, recent: Sample, calibration: tuple[np.ndarray, np.ndarray], right: int, judged: int
) -> DriftCheck:
    counts = {
        "reference_images": len(reference.probabilities),
        "recent_images": len(recent.probabilities),
        "reference_features": len(reference.features),
        "recent_features": len(recent.features),
        "calibration_images": len(calibration[1]),
        "feedback_images": judged,
    }
    return _summarise(
        version,
        counts,
        measure_drift(reference, recent),
        _estimate(*calibration, recent.probabilities),
        estimation.observed_accuracy(right, judged),
    )


def _load_sample(connection: sa.Connection, facts: ModelVersion, sha256s: Sequence[str]) -> Sample:
    answers = load_results(connection, facts.version, sha256s)
    vectors = load_features(connection, list(answers), facts.backbone_id, [IDENTITY])
    return Sample(_stack(list(answers.values()), len(facts.classes)), np.array(list(vectors.values())))


def _load_calibration(connection: sa.Connection, facts: ModelVersion) -> tuple[np.ndarray, np.ndarray]:
    """What the version says of the evaluation images of its classes, (n, classes), and what they are, (n,)."""
    labels = {
        each.item_id: each.annotation.label
        for each in current_members(connection)
        if each.annotation.label in facts.classes
    }
    answers = load_results(connection, facts.version, list(labels))
    indices = [facts.classes.index(labels[sha256]) for sha256 in answers]
    return _stack(list(answers.values()), len(facts.classes)), np.array(indices, dtype=np.int64)


def _estimate(probabilities: np.ndarray, labels: np.ndarray, recent: np.ndarray) -> float | None:
    if min(len(labels), len(recent)) < estimation.MINIMUM_IMAGES:
        return None
    return estimation.estimate_accuracy(recent, estimation.fit_temperature(probabilities, labels))


def _summarise(
    version: int,
    counts: Mapping[str, int],
    scores: DriftScores | None,
    estimated_accuracy: float | None,
    observed: estimation.ObservedAccuracy | None,
) -> DriftCheck:
    features = scores.features if scores else None
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
        moved=scores.moved if scores else [],
        estimated_accuracy=estimated_accuracy,
        observed_accuracy=observed.share if observed else None,
        observed_accuracy_low=observed.low if observed else None,
        observed_accuracy_high=observed.high if observed else None,
    )


def _stack(vectors: Sequence[np.ndarray], length: int) -> np.ndarray:
    return np.stack(vectors) if vectors else np.empty((0, length), np.float32)
