"""Train a head on a snapshot, on the features of the same backbone that will serve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.backbones.features import ensure_views, read_pixels
from ml.backbones.keras_backend import load_keras
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.catalog.images.feature_vectors import IDENTITY
from ml.catalog.snapshots.stored_snapshots import SnapshotItem
from ml.data.evaluation_sets import EvaluationItem
from ml.deadlines import Deadline
from ml.progress import EpochProgress
from ml.tasks.classification.bundle import keras_accuracy, make_card, write_bundle
from ml.tasks.classification.classification_answers import measure_answers, rank_classes, single_class
from ml.tasks.classification.confusion_plot import save_confusion_matrix
from ml.tasks.classification.head_training import MAXIMUM_EPOCHS, TrainedHead, train_head
from ml.tasks.classification.hyperparameters import Hyperparameters
from ml.tasks.task import Figures, HyperparameterValues, ModelFiles, TrainingData

Fold = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class TrainedClassifier:
    """A trained head, and its figures on the validation fold and on the training fold."""

    data: TrainingData
    head: TrainedHead
    figures: Figures
    training_figures: Figures

    @property
    def history(self) -> Mapping[str, Sequence[float]]:
        """Return one value per epoch for each of loss, accuracy, val_loss, val_accuracy and learning_rate."""
        return self.head.history

    def draw(self, folder: Path) -> list[Path]:
        """Draw the confusion matrix."""
        path = folder / "confusion_matrix.png"
        save_confusion_matrix(self.figures.confusion or [], self.data.snapshot.classes, path)
        return [path]

    def write(self, folder: Path, sample: Sequence[EvaluationItem]) -> ModelFiles:
        """Write the bundle, compare its networks, and measure the Keras network's accuracy on the sample."""
        card = make_card(self.data.served, self.data.snapshot.classes)
        pixels = read_pixels(self.data.catalog, [each.demand_image() for each in sample], card.image_size)
        labels = np.array([card.classes.index(single_class(each.annotation)) for each in sample])
        parity = write_bundle(folder, self.data.served, self.head, card, pixels)
        accuracy = keras_accuracy(folder, pixels, labels)
        return ModelFiles(
            metrics={
                "parity_top1_agreement": parity.top1_agreement,
                "parity_difference": parity.maximum_difference,
                "parity_served_agreement": parity.served_agreement,
                "parity_served_difference": parity.served_difference,
            },
            tags={"keras_accuracy": f"{accuracy:.4f}", "keras_accuracy_images": str(len(labels))},
        )


@dataclass(frozen=True)
class HeadTrainer:
    """The features and class indices of both folds. `HeadTrainer.read` creates it."""

    data: TrainingData
    training: Fold
    validation: Fold

    @classmethod
    def read(cls, data: TrainingData) -> "HeadTrainer":
        """Read the features. Compute and store those that are missing."""
        items = data.snapshot.items
        backbone = OnnxBackbone(data.served.onnx)
        training = _read_fold(data, backbone, [each for each in items if each.fold == "train"], data.views)
        validation = _read_fold(data, backbone, [each for each in items if each.fold == "validation"], [IDENTITY])
        return cls(data, training, validation)

    def fit(
        self, hyperparameters: HyperparameterValues, deadline: Deadline, on_epoch: EpochProgress | None = None
    ) -> TrainedClassifier:
        """Train a head, and measure it on both folds."""
        load_keras().utils.clear_session()  # free memory: a search trains hundreds of heads in one process
        classes, report = self.data.snapshot.classes, self.data.on_step
        head = train_head(
            *self.training,
            *self.validation,
            len(classes),
            self.data.seed,
            deadline,
            on_epoch or (lambda epoch, _: report("train", epoch + 1, MAXIMUM_EPOCHS)),
            Hyperparameters.of(hyperparameters),
        )
        figures = self._measure(head, "validation", self.validation)
        return TrainedClassifier(self.data, head, figures, self._measure(head, "train", self.training))

    def _measure(self, head: TrainedHead, name: str, fold: Fold) -> Figures:
        """Measure a head on the unchanged images of a fold, which come before their other views."""
        classes = self.data.snapshot.classes
        annotations = [each.annotation for each in self.data.snapshot.items if each.fold == name]
        features, _ = fold
        answers = rank_classes(head.classify(features[: len(annotations)]), classes)
        return measure_answers(annotations, answers, classes)


def _read_fold(data: TrainingData, backbone: OnnxBackbone, items: Sequence[SnapshotItem], views: Sequence[str]) -> Fold:
    sha256s = [item.demand_image() for item in items]
    features = ensure_views(
        data.catalog,
        backbone.features,
        backbone.backbone_id,
        backbone.image_size,
        sha256s,
        views,
        lambda done, total: data.on_step("features", done, total),
    )
    labels = [data.snapshot.classes.index(single_class(item.annotation)) for item in items]
    return np.concatenate(features), np.tile(np.array(labels, np.int64), len(views))
