"""Train a challenger on a pinned snapshot and write everything about it into one MLflow run."""

import hashlib
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ml.app import Workspace
from ml.backbones.features import read_pixels
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.served_backbone import ServedBackbone
from ml.backbones.views import training_views
from ml.catalog.database import Catalog
from ml.catalog.models.attempts import Attempt
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.data.evaluation_sets import current_evaluation_set
from ml.deadlines import Deadline
from ml.errors import EvaluationSetError
from ml.progress import StepProgress
from ml.registry.mlflow_runs import DatasetNote, Run
from ml.tasks.classification.bundle import keras_accuracy, make_card, write_bundle
from ml.tasks.classification.card import ModelCard
from ml.tasks.classification.classification_metrics import Metrics
from ml.tasks.classification.head_training import TrainedHead
from ml.tasks.classification.hyperparameters import chosen_hyperparameters
from ml.training import training_plots
from ml.training.chosen_backbone import ensure_backbone, start_version
from ml.training.finetuning import finetune_backbone
from ml.training.head_fitting import fit_head
from ml.training.training_requests import FINETUNE

# The Keras copy runs at a sixth of ONNX Runtime's speed: so many images tell its accuracy well enough.
KERAS_ACCURACY_IMAGES = 100


def train_challenger(workspace: Workspace, attempt: Attempt, on_step: StepProgress | None = None) -> str:
    """Train the head on the snapshot's features, and log model, figures, plots and where they came from.

    Args:
        attempt: its snapshot and its parameters, among them the seed.
        on_step: called with ("activations", "tune", "backbone", "features" or "train", done, total).
    Returns: the MLflow run's id; the run is finished.
    Raises: WeightsError, TrainingError, ModelLoadError; the run is then marked as failed.
    """
    started = time.monotonic()
    deadline = Deadline(workspace.settings.training_budget_minutes * 60)
    catalog, settings = workspace.catalog, workspace.settings
    with catalog.begin() as connection:
        snapshot = load_snapshot(connection, attempt.snapshot_id)
    with workspace.registry.start_run(attempt.id) as run:
        served = _prepare_backbone(workspace, attempt, snapshot, run, on_step)
        backbone = OnnxBackbone(served.onnx)
        run.log_parameters({**attempt.parameters, "validation_ratio": settings.validation_ratio})
        hyperparameters = chosen_hyperparameters(attempt.parameters)
        run.log_parameters({f"head_{name}": value for name, value in asdict(hyperparameters).items()})
        run.log_dataset(_describe(snapshot), "training")
        run.tag({"backbone": served.backbone, "precision": served.precision})
        run.tag(
            {
                "backbone_weights": served.weights_recipe,
                "backbone_id": backbone.backbone_id,
                "snapshot_id": str(snapshot.id),
            }
        )
        run.tag({"precision_reason": served.precision_reason})
        head, validation = fit_head(
            catalog, backbone, snapshot, _views(attempt), _seed(attempt), deadline, on_step, hyperparameters
        )
        _log_training(run, snapshot, head, validation)
        _log_model(run, catalog, served, head, make_card(served, snapshot.classes), started)
    return run.mlflow_run_id


def _prepare_backbone(
    workspace: Workspace, attempt: Attempt, snapshot: Snapshot, run: Run, on_step: StepProgress | None
) -> ServedBackbone:
    tell = on_step or (lambda _step, _done, _total: None)
    if attempt.parameters.get("kind") == FINETUNE:
        served = finetune_backbone(workspace, attempt, snapshot, run, on_step)
    else:
        start = start_version(workspace, attempt)
        served = ensure_backbone(workspace, snapshot, start, lambda done, total: tell("backbone", done, total))
    tell("backbone", 1, 1)
    return served


def _views(attempt: Attempt) -> list[str]:
    return training_views(bool(attempt.parameters["mirrored_views"]))


def _seed(attempt: Attempt) -> int:
    return int(str(attempt.parameters["seed"]))


def _describe(snapshot: Snapshot) -> DatasetNote:
    counts = Counter(f"{item.annotation.label} {item.fold}" for item in snapshot.items)
    rows = repr([(item.item_id, item.annotation.label, item.fold) for item in snapshot.items])
    return DatasetNote(
        name=f"snapshot-{snapshot.id}",
        digest=hashlib.sha256(rows.encode()).hexdigest(),
        profile={"images": len(snapshot.items), "cutoff": snapshot.cutoff.isoformat(), **dict(sorted(counts.items()))},
    )


def _log_training(run: Run, snapshot: Snapshot, head: TrainedHead, validation: Metrics) -> None:
    run.log_history(head.history)
    run.log_metrics(
        {
            "validation_accuracy": validation.accuracy,
            "validation_precision_macro": validation.precision_macro,
            "validation_recall_macro": validation.recall_macro,
            "validation_f1_macro": validation.f1_macro,
        }
    )
    run.log_report("validation_report.json", asdict(validation))
    with tempfile.TemporaryDirectory() as folder:
        curves, confusion = Path(folder) / "learning_curves.png", Path(folder) / "confusion_matrix.png"
        training_plots.save_learning_curves(head.history, curves)
        training_plots.save_confusion_matrix(validation.confusion, snapshot.classes, confusion)
        run.log_picture(curves)
        run.log_picture(confusion)


def _log_model(
    run: Run, catalog: Catalog, backbone: ServedBackbone, head: TrainedHead, card: ModelCard, started: float
) -> None:
    """Log the model last: MLflow calls a run finished once it has one, and a finished run is taken as it is."""
    pixels, labels = _evaluation_sample(catalog, card)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder)
        parity = write_bundle(bundle, backbone, head, card, pixels)
        accuracy = keras_accuracy(bundle, pixels, labels)
        run.tag({"keras_accuracy": f"{accuracy:.4f}", "keras_accuracy_images": str(len(labels))})
        run.log_metrics(
            {
                "parity_top1_agreement": parity.top1_agreement,
                "parity_difference": parity.maximum_difference,
                "parity_served_agreement": parity.served_agreement,
                "parity_served_difference": parity.served_difference,
                "training_seconds": time.monotonic() - started,
            }
        )
        run.log_model(bundle)


def _evaluation_sample(catalog: Catalog, card: ModelCard) -> tuple[np.ndarray, np.ndarray]:
    """Some images of the evaluation set, always the same of one set: uint8 (n, size, size, 3) and class indices."""
    with catalog.begin() as connection:
        _, members = current_evaluation_set(connection)
    chosen = [member for member in members if member.annotation.label in card.classes][:KERAS_ACCURACY_IMAGES]
    if not chosen:
        raise EvaluationSetError(
            f"Expected images of the classes {', '.join(card.classes)} in the evaluation set, found none. "
            "Ingest some with `mycoflow ingest DIR --split evaluation`."
        )
    pixels = read_pixels(catalog, [each.demand_image() for each in chosen], card.image_size)
    return pixels, np.array([card.classes.index(member.annotation.label) for member in chosen])
