"""Fine-tuning: the last layers of a version's backbone trained further. What comes out is a backbone of its own."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.app import Workspace, remember_version
from ml.backbones.base import Backbone
from ml.backbones.cut_points import CutPoint, choose_cut_point
from ml.backbones.features import ensure_features, read_pixels
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.registered import find_backbone
from ml.backbones.served_backbone import ServedBackbone, load_served_backbone, make_served_backbone
from ml.backbones.standardisation import Standardisation
from ml.backbones.views import VIEWS, training_views
from ml.catalog.database import Catalog
from ml.catalog.images.feature_vectors import IDENTITY
from ml.catalog.models.attempts import Attempt
from ml.catalog.snapshots.stored_snapshots import Snapshot
from ml.deadlines import Deadline
from ml.progress import StepProgress
from ml.registry.mlflow_runs import Run
from ml.training import training_plots
from ml.training.activations import SeenImage, kept_activations, room_bytes
from ml.training.head_fitting import fit_head
from ml.training.training_requests import FinetuneParameters, demand_layers
from ml.training.unfrozen_layers import build_tail, tuned_weights
from ml.training.unfrozen_training import Examples, best_epoch, train_tail

# The rest of the training budget is for quantising, the features of the new backbone, and its head.
BUDGET_SHARE = 0.8


def finetune_backbone(
    workspace: Workspace, attempt: Attempt, snapshot: Snapshot, run: Run, on_step: StepProgress | None = None
) -> ServedBackbone:
    """Train the last layers of a version's backbone on a snapshot, and make a backbone of the result.

    Args:
        attempt: its parameters are those of a FinetuneParameters, recorded.
        snapshot: the attempt's.
        run: told how it went.
        on_step: called with ("activations", "tune" or "backbone", done, total).
    Raises: WeightsError, the version's backbone was not made here; SettingsError, it has fewer layers; TrainingError.
    """
    deadline = Deadline(workspace.settings.training_budget_minutes * 60 * BUDGET_SHARE)
    tell = on_step or (lambda _step, _done, _total: None)
    views = training_views(workspace.settings.mirrored_views)
    asked, lesson = FinetuneParameters.from_record(attempt.parameters), _Lesson.of(snapshot, views)
    start = load_served_backbone(workspace.catalog, _backbone_id(workspace, asked))
    room = room_bytes(workspace.settings)
    backbone = find_backbone(start.backbone)
    cut = choose_cut_point(
        backbone.cut_points(start.image_size), _first_tuned(backbone, asked.layers), len(lesson.seen), room
    )
    # The head that an ordinary retraining would give: it fits this snapshot and its classes. An unfitted one would send
    # large, aimless gradients into weights that are good already.
    runnable = OnnxBackbone(start.onnx)
    head, before = fit_head(workspace.catalog, runnable, snapshot, views, asked.seed, deadline)
    weights = backbone.read_onnx(start.fp32_onnx, start.weights_recipe)
    standardisation = _standardise(workspace.catalog, runnable, snapshot)
    tail = build_tail(backbone, weights, head, standardisation, cut, asked.layers, asked.seed)
    with kept_activations(
        workspace.settings.mycoflow_home,
        lambda seen: _read_views(workspace.catalog, seen, start.image_size),
        start.fp32_onnx,
        cut,
        lesson.seen,
        lambda done, total: tell("activations", done, total),
    ) as activations:
        history = train_tail(
            tail,
            Examples(activations, lesson.labels, lesson.is_training),
            asked.epochs,
            asked.learning_rate,
            asked.seed,
            deadline,
            lambda epoch, _: tell("tune", epoch + 1, asked.epochs),
        )
    run.tag({"finetuned_from_version": str(asked.model_version), "finetuned_from_backbone": start.backbone_id})
    run.log_metrics({"validation_accuracy_before": before.accuracy})
    _log_training(run, cut, len(lesson.seen), history)
    return make_served_backbone(
        workspace.catalog,
        workspace.settings,
        backbone,
        tuned_weights(weights, tail),
        start.image_size,
        snapshot,
        lambda done, total: tell("backbone", done, total),
    )


def _first_tuned(backbone: Backbone, layers: int) -> int:
    demand_layers(layers, len(backbone.tunable_layers))
    return len(backbone.tunable_layers) - layers


@dataclass(frozen=True)
class _Lesson:
    """What is learned from, one entry per view of an image; the validation fold is seen as it is.

    Args:
        seen: hash and view.
        labels: class indices, int64 (n,).
        is_training: the fold, bool (n,).
    """

    seen: list[SeenImage]
    labels: NDArray[np.int64]
    is_training: NDArray[np.bool_]

    @classmethod
    def of(cls, snapshot: Snapshot, views: Sequence[str]) -> "_Lesson":
        pairs = [(item, view) for item in snapshot.items for view in (views if item.fold == "train" else [IDENTITY])]
        return cls(
            [(item.demand_image(), view) for item, view in pairs],
            np.array([snapshot.classes.index(item.annotation.label) for item, _ in pairs]),
            np.array([item.fold == "train" for item, _ in pairs]),
        )


def _read_views(catalog: Catalog, seen: Sequence[SeenImage], image_size: int) -> NDArray[np.uint8]:
    pixels = read_pixels(catalog, [sha256 for sha256, _ in seen], image_size)
    return np.concatenate([VIEWS[view](pixels[[row]]) for row, (_, view) in enumerate(seen)])


def _standardise(catalog: Catalog, backbone: OnnxBackbone, snapshot: Snapshot) -> Standardisation:
    training = [item.demand_image() for item in snapshot.items if item.fold == "train"]
    return Standardisation.of(
        ensure_features(catalog, backbone.features, backbone.backbone_id, backbone.image_size, training)
    )


def _backbone_id(workspace: Workspace, asked: FinetuneParameters) -> str:
    assert asked.model_version is not None  # noqa: S101 - recorded parameters name one
    return remember_version(workspace, asked.model_version).backbone_id


def _log_training(run: Run, cut: CutPoint, image_count: int, history: dict[str, list[float]]) -> None:
    run.log_parameters({"cut_point": cut.tensor})
    run.log_metrics({"activations_mb": cut.bytes_per_image * image_count / 1e6})
    run.log_history({f"tail_{name}": values for name, values in history.items()})
    with tempfile.TemporaryDirectory() as folder:
        curves = Path(folder) / "tail_learning_curves.png"
        training_plots.save_learning_curves(history, curves, best_epoch(history))
        run.log_picture(curves)
