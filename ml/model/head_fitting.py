"""Fit a head to a snapshot, on the features of the very trunk that will serve."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from ml.catalog.database import Catalog
from ml.catalog.features import IDENTITY
from ml.catalog.snapshots import Snapshot, SnapshotImage
from ml.model.features import ensure_views
from ml.model.runtime import Trunk
from ml.model.training import MAXIMUM_EPOCHS, TrainedHead, train_head
from ml.quality.metrics import Metrics, measure

StepProgress = Callable[[str, int, int], None]


def fit_head(
    catalog: Catalog,
    trunk: Trunk,
    snapshot: Snapshot,
    views: Sequence[str],
    seed: int,
    deadline: float,
    on_step: StepProgress | None = None,
) -> tuple[TrainedHead, Metrics]:
    """Compute the features that are missing and train a head on them.

    Args:
        trunk: that will serve.
        views: of the training fold, names in ml.model.views.VIEWS.
        seed: of the initial kernel, the shuffling and the dropout.
        deadline: training stops here, by time.monotonic().
        on_step: called with ("features" or "train", done, total).
    Returns: the head, and how it does on the validation fold, seen as it is.
    Raises: TrainingError.
    """
    tell = on_step or (lambda _step, _done, _total: None)

    def features_of(images: Sequence[SnapshotImage], views: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        sha256s = [image.sha256 for image in images]
        features = ensure_views(
            catalog,
            trunk.features,
            trunk.trunk_id,
            trunk.image_size,
            sha256s,
            views,
            lambda done, total: tell("features", done, total),
        )
        labels = [snapshot.classes.index(image.label) for image in images]
        return np.concatenate(features), np.tile(np.array(labels, np.int64), len(views))

    training = features_of([image for image in snapshot.images if image.fold == "train"], views)
    validation = features_of([image for image in snapshot.images if image.fold == "validation"], [IDENTITY])
    head = train_head(
        *training,
        *validation,
        len(snapshot.classes),
        seed,
        deadline - time.monotonic(),
        lambda epoch, _: tell("train", epoch + 1, MAXIMUM_EPOCHS),
    )
    predicted = head.classify(validation[0]).argmax(axis=1)
    return head, measure(validation[1], predicted, snapshot.classes)
