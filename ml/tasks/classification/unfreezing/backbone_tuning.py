"""Train the last layers of a backbone further, with a classification head."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ml.backbones.cut_points import choose_cut_point
from ml.backbones.features import read_pixels
from ml.backbones.registered import find_backbone
from ml.backbones.standardisation import Standardisation
from ml.backbones.views import VIEWS
from ml.catalog.database import Catalog
from ml.catalog.images.feature_vectors import IDENTITY
from ml.catalog.snapshots.stored_snapshots import Snapshot
from ml.deadlines import Deadline
from ml.progress import StepProgress
from ml.tasks.classification.classification_answers import single_class
from ml.tasks.classification.fitting.head_fitting import HeadTrainer
from ml.tasks.classification.unfreezing.activations import ImageView, activations_limit_bytes, stored_activations
from ml.tasks.classification.unfreezing.unfrozen_layers import build_tail, tuned_weights
from ml.tasks.classification.unfreezing.unfrozen_training import Examples, best_epoch, train_tail
from ml.tasks.task import FinetuningOptions, TrainingData, TunedBackbone


def tune_backbone(data: TrainingData, options: FinetuningOptions, deadline: Deadline) -> TunedBackbone:
    """Train the last layers of a backbone on a snapshot.

    Raises: TrainingError.
    """
    served, seen = data.served, _SeenImages.of(data.snapshot, data.views)
    backbone = find_backbone(served.backbone)
    first_tuned = len(backbone.tunable_layers) - options.layers
    cut = choose_cut_point(
        backbone.cut_points(served.image_size), first_tuned, len(seen.views), activations_limit_bytes(data.settings)
    )
    # Train a head first, as a retraining does. The gradients of an untrained head are large and random: they would
    # damage the backbone's good weights.
    trainer = HeadTrainer.read(replace(data, on_step=_leave_out_head(data.on_step)), keeps_validation=True)
    fitted = trainer.fit({}, deadline, lambda _epoch, _figures: None)
    weights = backbone.read_onnx(served.fp32_onnx, served.weights_recipe)
    standardisation = Standardisation.of(trainer.features[0, trainer.training])
    tail = build_tail(backbone, weights, fitted.head, standardisation, cut, options.layers, data.seed)
    with stored_activations(
        data.settings.mycoflow_home,
        lambda views: _read_views(data.catalog, views, served.image_size),
        served.fp32_onnx,
        cut,
        seen.views,
        lambda done, total: data.on_step("activations", done, total),
    ) as activations:
        history = train_tail(
            tail,
            Examples(activations, seen.labels, seen.is_training),
            options.epochs,
            options.learning_rate,
            data.seed,
            deadline,
            lambda epoch, _: data.on_step("tune", epoch + 1, options.epochs),
        )
    return TunedBackbone(
        weights=tuned_weights(weights, tail),
        before=fitted.figures,
        history=history,
        kept_epoch=best_epoch(history),
        cut_point=cut.tensor,
        activations_mb=cut.bytes_per_image * len(seen.views) / 1e6,
    )


def _leave_out_head(on_step: StepProgress) -> StepProgress:
    """Report no steps of the first head: "train" is the last step of the whole training."""

    def report(step: str, done: int, total: int) -> None:
        if step != "train":
            on_step(step, done, total)

    return report


@dataclass(frozen=True)
class _SeenImages:
    """The examples, one per view of an image. The validation fold has only the original view.

    Args:
        views: hash of the image and name of the view.
        labels: class indices, int64 (n,).
        is_training: True for the training fold, bool (n,).
    """

    views: list[ImageView]
    labels: NDArray[np.int64]
    is_training: NDArray[np.bool_]

    @classmethod
    def of(cls, snapshot: Snapshot, views: Sequence[str]) -> "_SeenImages":
        pairs = [(item, view) for item in snapshot.items for view in (views if item.fold == "train" else [IDENTITY])]
        return cls(
            [(item.demand_image(), view) for item, view in pairs],
            np.array([snapshot.classes.index(single_class(item.annotation)) for item, _ in pairs]),
            np.array([item.fold == "train" for item, _ in pairs]),
        )


def _read_views(catalog: Catalog, seen: Sequence[ImageView], image_size: int) -> NDArray[np.uint8]:
    pixels = read_pixels(catalog, [sha256 for sha256, _ in seen], image_size)
    return np.concatenate([VIEWS[view](pixels[[row]]) for row, (_, view) in enumerate(seen)])
