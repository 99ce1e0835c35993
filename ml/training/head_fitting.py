"""Fit a head to a snapshot, on the features of the very backbone that will serve."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.backbones.features import ensure_views
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.catalog.database import Catalog
from ml.catalog.images.feature_vectors import IDENTITY
from ml.catalog.snapshots.stored_snapshots import Snapshot, SnapshotItem
from ml.deadlines import Deadline
from ml.progress import EpochProgress, Progress, StepProgress
from ml.tasks.classification.classification_metrics import Metrics, measure
from ml.tasks.classification.head_training import MAXIMUM_EPOCHS, TrainedHead, train_head
from ml.tasks.classification.hyperparameters import DEFAULTS, Hyperparameters

Fold = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Folds:
    """What a head learns from and what it is judged on: features (n, feature count) and class indices (n,)."""

    training: Fold
    validation: Fold
    classes: Sequence[str]


def fit_head(
    catalog: Catalog,
    backbone: OnnxBackbone,
    snapshot: Snapshot,
    views: Sequence[str],
    seed: int,
    deadline: Deadline,
    on_step: StepProgress | None = None,
    hyperparameters: Hyperparameters = DEFAULTS,
) -> tuple[TrainedHead, Metrics]:
    """Compute the features that are missing and train a head on them.

    Args:
        backbone: that will serve.
        views: of the training fold, names in ml.backbones.views.VIEWS.
        seed: of the initial kernel, the shuffling and the dropout.
        deadline: training stops here.
        on_step: called with ("features" or "train", done, total).
        hyperparameters: how the head is trained.
    Returns: the head, and how it does on the validation fold, seen as it is.
    Raises: TrainingError.
    """
    tell = on_step or (lambda _step, _done, _total: None)
    folds = read_folds(catalog, backbone, snapshot, views, lambda done, total: tell("features", done, total))
    return fit_folds(
        folds,
        seed,
        deadline,
        hyperparameters,
        lambda epoch, _: tell("train", epoch + 1, MAXIMUM_EPOCHS),
    )


def read_folds(
    catalog: Catalog,
    backbone: OnnxBackbone,
    snapshot: Snapshot,
    views: Sequence[str],
    on_progress: Progress | None = None,
) -> Folds:
    """The features of a snapshot's images; those that are missing are computed.

    Args: as for `fit_head`; on_progress, called with (images done, images to do).
    """

    def features_of(items: Sequence[SnapshotItem], views: Sequence[str]) -> Fold:
        sha256s = [item.demand_image() for item in items]
        features = ensure_views(
            catalog, backbone.features, backbone.backbone_id, backbone.image_size, sha256s, views, on_progress
        )
        labels = [snapshot.classes.index(item.annotation.label) for item in items]
        return np.concatenate(features), np.tile(np.array(labels, np.int64), len(views))

    training = features_of([item for item in snapshot.items if item.fold == "train"], views)
    validation = features_of([item for item in snapshot.items if item.fold == "validation"], [IDENTITY])
    return Folds(training, validation, snapshot.classes)


def fit_folds(
    folds: Folds,
    seed: int,
    deadline: Deadline,
    hyperparameters: Hyperparameters,
    on_epoch: EpochProgress | None = None,
) -> tuple[TrainedHead, Metrics]:
    """Train a head on features that are at hand.

    Args: as for `train_head`.
    Returns: the head, and how it does on the validation fold.
    Raises: TrainingError.
    """
    class_count = len(folds.classes)
    head = train_head(*folds.training, *folds.validation, class_count, seed, deadline, on_epoch, hyperparameters)
    features, labels = folds.validation
    return head, measure(labels, head.classify(features).argmax(axis=1), folds.classes)
