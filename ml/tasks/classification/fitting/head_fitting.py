"""Train a head on a snapshot, on the features of the same backbone that will serve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.backbones.features import ensure_views, read_pixels
from ml.backbones.keras_backend import load_keras
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.served_backbone import FINETUNED, find_base_recipe
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.confidence.cross_fitting import Division, Labels, Rows, divide_by_group, is_answered
from ml.confidence.reliability_plot import save_reliability
from ml.data.evaluation_sets import EvaluationItem
from ml.deadlines import Deadline
from ml.errors import TrainingError
from ml.progress import EpochProgress
from ml.tasks.classification.answer_confidence import AnswerConfidence, fit_confidence
from ml.tasks.classification.bundle import keras_accuracy, make_card, write_bundle
from ml.tasks.classification.classification_answers import (
    measure_answers,
    measure_names,
    rank_classes,
    single_class,
)
from ml.tasks.classification.confusion_plot import save_confusion_matrix
from ml.tasks.classification.fitting.convex_head import ConvexFit, fit_convex_head
from ml.tasks.classification.fitting.head_training import MAXIMUM_EPOCHS, answer_left_out, train_head
from ml.tasks.classification.head import Head
from ml.tasks.classification.hyperparameters import Hyperparameters
from ml.tasks.task import Figures, HyperparameterValues, ModelFiles, TrainingData

Floats = NDArray[np.float32]
_RANDOM = "random"  # the beginning of the recipe of random weights


@dataclass(frozen=True)
class TrainedClassifier:
    """A trained head, its figures on both folds, and how its answers' confidences were calibrated.

    Args:
        head: before calibration.
        history: see ml.tasks.task.TrainedModel.
        confidence: not calibrated in a search.
        calibrated_on: which answers the confidences were calibrated on: `cross-fitted`, `validation` or `none`.
        convex: the choice of the regularisation; None if Adam trained the head.
    """

    data: TrainingData
    head: Head
    history: Mapping[str, Sequence[float]]
    figures: Figures
    training_figures: Figures
    confidence: AnswerConfidence
    calibrated_on: str
    convex: ConvexFit | None

    @property
    def cross_fitted(self) -> Mapping[str, Floats]:
        """Return the calibrated answers of heads that were fitted without the item's group, by item id."""
        rows = np.flatnonzero(is_answered(self.confidence.answers))
        return {self.data.snapshot.items[row].item_id: self.confidence.answers[row] for row in rows}

    def draw(self, folder: Path) -> list[Path]:
        """Draw the confusion matrix, and the reliability of the cross-fitted answers."""
        confusion, reliability = folder / "confusion_matrix.png", folder / "reliability.png"
        save_confusion_matrix(self.figures.confusion or [], self.data.snapshot.classes, confusion)
        known = self.cross_fitted
        if not known:
            return [confusion]
        classes, answers = self.data.snapshot.classes, np.stack(list(known.values()))
        labels = {item.item_id: classes.index(single_class(item.annotation)) for item in self.data.snapshot.items}
        right = answers.argmax(axis=1) == [labels[item_id] for item_id in known]
        save_reliability(answers.max(axis=1), right, reliability)
        return [confusion, reliability]

    def write(self, folder: Path, sample: Sequence[EvaluationItem]) -> ModelFiles:
        """Write the bundle, compare its networks, and measure the Keras network's accuracy on the sample."""
        confidence = self.confidence
        card = make_card(self.data.served, self.data.snapshot.classes, confidence)
        pixels = read_pixels(self.data.catalog, [each.demand_image() for each in sample], card.image_size)
        labels = np.array([card.classes.index(single_class(each.annotation)) for each in sample])
        head = self.head.at_temperature(confidence.temperature)
        parity = write_bundle(folder, self.data.served, head, card, pixels, confidence.novelty)
        accuracy = keras_accuracy(folder, pixels, labels)
        return ModelFiles(
            metrics={
                "parity_top1_agreement": parity.top1_agreement,
                "parity_difference": parity.maximum_difference,
                "parity_served_agreement": parity.served_agreement,
                "parity_served_difference": parity.served_difference,
                "temperature": confidence.temperature,
                "cross_fitted_images": confidence.image_count,
                **self._describe_convex(),
            },
            tags={
                "keras_accuracy": f"{accuracy:.4f}",
                "keras_accuracy_images": str(len(labels)),
                "novelty": confidence.novelty_reason,
                "calibrated_on": self.calibrated_on,
            },
        )

    def _describe_convex(self) -> dict[str, float]:
        if self.convex is None or np.isnan(self.convex.loss):
            return {}
        return {"inverse_regularisation": self.convex.strength, "cross_fitted_log_loss": self.convex.loss}


@dataclass(frozen=True)
class HeadTrainer:
    """The snapshot's images for training a head. `HeadTrainer.read` creates it.

    Args:
        features: of the views of n images, (views, n, feature count); the first view is the unchanged image.
        labels: class indices, (n,).
        training, validation: rows of the two folds.
        human: rows of the human-labelled images.
        fitted: rows that the head is fitted on.
        divisions: of the images, for cross-fitted answers to the human-labelled ones.
        is_divided: whether the divisions are folds of all images; otherwise the validation fold is left out.
    """

    data: TrainingData
    features: Floats
    labels: Labels
    training: Rows
    validation: Rows
    human: Rows
    fitted: Rows
    divisions: Sequence[Division]
    is_divided: bool

    @classmethod
    def read(cls, data: TrainingData, keeps_validation: bool = False) -> "HeadTrainer":
        """Read the features. Compute and store those that are missing.

        Adam needs the validation fold to choose the epoch. A convex fit needs none: its head learns from both folds,
        and is measured by cross-fitted answers. But a fine-tuned backbone has learned the training fold by heart, so
        that only the validation fold can say how good the answers to unknown images are.

        Args: keeps_validation, keep the validation fold out of the head in any case.
        Raises: TrainingError, a fold has no images.
        """
        items = data.snapshot.items
        labels = np.array([data.snapshot.classes.index(single_class(item.annotation)) for item in items], np.int64)
        folds = np.array([item.fold for item in items], np.str_)
        training, validation = np.flatnonzero(folds == "train"), np.flatnonzero(folds == "validation")
        if not len(training) or not len(validation):
            raise TrainingError(
                f"Expected images in both folds of snapshot {data.snapshot.id}. Received: {len(training)} for "
                f"training, {len(validation)} for validation; others were erased. Retrain: that takes a new snapshot."
            )
        human = np.flatnonzero([item.label_origin in HUMAN_ORIGINS for item in items])
        is_tuned = data.served.weights_recipe.startswith(FINETUNED)
        divisions = [] if keeps_validation or is_tuned else _divide(labels, [item.group_key for item in items], human)
        is_divided = bool(divisions)
        fitted = np.arange(len(items)) if is_divided and data.settings.head_solver == "convex" else training
        divisions = divisions or [Division(training, validation)]
        return cls(data, _read_features(data), labels, training, validation, human, fitted, divisions, is_divided)

    def fit(
        self, hyperparameters: HyperparameterValues, deadline: Deadline, on_epoch: EpochProgress | None = None
    ) -> TrainedClassifier:
        """Train a head, measure it on both folds, and calibrate its answers by those of heads fitted without them."""
        if self.data.settings.head_solver == "convex":
            return self._fit_convex(deadline)
        return self._train(Hyperparameters.of(hyperparameters), deadline, on_epoch)

    def _fit_convex(self, deadline: Deadline) -> TrainedClassifier:
        fit = fit_convex_head(
            self.features,
            self.labels,
            self._class_count,
            self.divisions,
            self.fitted,
            deadline,
            lambda done, total: self.data.on_step("train", done, total),
        )
        source = "cross-fitted" if self.is_divided else "validation"
        return self._finish(fit.head, {}, fit.answers, source, fit)

    def _train(
        self, hyperparameters: Hyperparameters, deadline: Deadline, on_epoch: EpochProgress | None
    ) -> TrainedClassifier:
        load_keras().utils.clear_session()  # free memory: a search trains hundreds of heads in one process
        trained = train_head(
            *self._examples(self.training),
            self.features[0, self.validation],
            self.labels[self.validation],
            self._class_count,
            self.data.seed,
            deadline,
            on_epoch or (lambda epoch, _: self.data.on_step("train", epoch + 1, MAXIMUM_EPOCHS)),
            hyperparameters,
        )
        if self.data.is_search:
            return self._finish(trained, trained.history, None, "none")
        answers, source = None, "cross-fitted"
        if self.is_divided:
            answers = answer_left_out(
                self.features, self.labels, self._class_count, self.divisions, self.data.seed, deadline, hyperparameters
            )
        if answers is None:  # few groups, a fine-tuned backbone, or no time for more heads
            answers, source = np.full((len(self.labels), self._class_count), np.nan, np.float32), "validation"
            answers[self.validation] = trained.classify(self.features[0, self.validation])
        return self._finish(trained, trained.history, answers, source)

    def _finish(
        self,
        head: Head,
        history: Mapping[str, Sequence[float]],
        answers: Floats | None,
        calibrated_on: str,
        convex: ConvexFit | None = None,
    ) -> TrainedClassifier:
        if answers is None:
            confidence = AnswerConfidence.unknown(len(self.labels), self._class_count)
        else:
            references = np.intersect1d(self.fitted, self.human)
            confidence = fit_confidence(
                self.features[0], self.labels, answers, self.divisions, references, _sees(self.data)
            )
        given = head.at_temperature(confidence.temperature).classify(self.features[0])
        unseen, rows = given, self.validation
        if len(self.fitted) > len(self.training):  # the head has learned the validation fold
            unseen, rows = confidence.answers, rows[is_answered(confidence.answers)[rows]]
        classes, items = self.data.snapshot.classes, self.data.snapshot.items
        figures, learned = (
            measured([items[row].annotation for row in chosen], rank_classes(answers[chosen], classes), classes)
            for measured, answers, chosen in (
                (measure_answers if not self.data.is_search else measure_names, unseen, rows),
                (measure_names, given, self.training),
            )
        )
        return TrainedClassifier(self.data, head, history, figures, learned, confidence, calibrated_on, convex)

    def _examples(self, rows: Rows) -> tuple[Floats, Labels]:
        """Return features and labels of all views of some images, one view after the other."""
        return np.concatenate(self.features[:, rows]), np.tile(self.labels[rows], len(self.features))

    @property
    def _class_count(self) -> int:
        return len(self.data.snapshot.classes)


def _divide(labels: Labels, groups: Sequence[str], human: Rows) -> list[Division]:
    """Divide images by group, so that the human-labelled ones are answered."""
    divided = [Division(each.fitted, np.intersect1d(each.answered, human)) for each in divide_by_group(labels, groups)]
    return [each for each in divided if len(each.answered)]


def _sees(data: TrainingData) -> bool:
    """Return whether the backbone's weights were trained on photos, or fine-tuned from such."""
    recipe: str = data.served.weights_recipe
    if recipe.startswith(FINETUNED):
        with data.catalog.begin() as connection:
            recipe = find_base_recipe(connection, data.served.backbone_id)
    return not recipe.startswith(_RANDOM)


def _read_features(data: TrainingData) -> Floats:
    backbone = OnnxBackbone(data.served.onnx)
    return ensure_views(
        data.catalog,
        backbone.features,
        backbone.backbone_id,
        backbone.image_size,
        [item.demand_image() for item in data.snapshot.items],
        data.views,
        lambda done, total: data.on_step("features", done, total),
    )
