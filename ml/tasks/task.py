"""The protocol of a task: how models are trained for it, how they answer, and how their answers are measured.

A task has its own folder and one line in `ml.tasks.registered_tasks`. Code outside that folder uses only this protocol.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ml.backbones.base import BackboneWeights
from ml.backbones.served_backbone import ServedBackbone
from ml.catalog.annotations import Annotation, AnnotationReader
from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.snapshots.stored_snapshots import Snapshot
from ml.data.evaluation_sets import EvaluationItem
from ml.deadlines import Deadline
from ml.errors import ModelLoadError, NoActivationMapError, SettingsError
from ml.progress import EpochProgress, Progress, StepProgress
from ml.settings import Settings
from ml.tasks.card import ModelCard

if TYPE_CHECKING:
    from optuna import Trial

Floats = NDArray[np.float32]
CONVERTED = "converted"  # the backbone's name in the card of a model that was trained elsewhere
HyperparameterValues = Mapping[str, float]
"""Values of the hyperparameters by name. Only the task knows the names."""


@dataclass(frozen=True)
class Output:
    """A model's output for n images.

    Args:
        answers: one for each image.
        features: float32 (n, feature count).
    """

    answers: Sequence[Answer]
    features: Floats

    @property
    def probabilities(self) -> Floats:
        """Return the probability of each class, float32 (n, classes)."""
        return np.array([answer.probabilities for answer in self.answers], np.float32)


class Model(Protocol):
    """A loaded model version. Several threads may call it at once."""

    @property
    def card(self) -> ModelCard:
        """Return the model card: the expected input and the classes."""

    def predict(self, images: NDArray[np.uint8], /) -> Output:
        """Answer images.

        Args: images, uint8 RGB (n, size, size, 3), as `ml.backbones.preprocessing.to_pixels` makes them.
        Raises: ValueError, wrong shape or dtype.
        """

    def answer(self, features: Floats, /) -> list[Answer]:
        """Answer images from their features. Args: features, float32 (n, feature count)."""


@runtime_checkable
class LocatingModel(Model, Protocol):
    """A model that can say where in an image it saw a class."""

    @property
    def draws_maps(self) -> bool:
        """Return whether the files of this version allow it."""

    def locate(self, image: NDArray[np.uint8], class_name: str, /) -> Floats:
        """Return how much each region of an image speaks for a class.

        Args:
            image: uint8 RGB (size, size, 3).
            class_name: one of the card's classes.
        Returns: float32 (rows, columns), a grid over the whole image; negative where a region speaks against the class.
        Raises: NoActivationMapError, the files of this version do not allow it.
        """


@dataclass(frozen=True)
class Figures:
    """The quality of a model's answers to some items, as shares from 0 to 1.

    Args:
        main: the task's main figure, to which the floor applies.
        shares: shares by name, with the main figure; those that ml.figures lists are shown.
        per_class: class name -> {image_count, precision, recall, f1}, for all classes of the model.
        confusion: confusion[i][j] items of class i were classified as class j; None if items may have several classes.
    """

    main: float
    shares: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    confusion: Sequence[Sequence[int]] | None = None


@dataclass(frozen=True)
class Scores:
    """The score of each answer. The gate compares two models by these scores.

    Args:
        main: the main figure of the answers.
        items: score of each item, 0 to 1, (n,); the gate compares the means.
        classes: class name -> score of the class for each item, 0 to 1, (n,); NaN for items that do not show the class.
            Classes that no item shows are missing.
    """

    main: float
    items: NDArray[np.float64]
    classes: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def of_labels(cls, labels: NDArray[np.str_], items: NDArray[np.float64]) -> "Scores":
        """Return the scores of items with one class each. The main figure is the mean."""
        classes = {str(label): np.where(labels == label, items, np.nan) for label in np.unique(labels)}
        return cls(float(items.mean()), items, classes)


@dataclass(frozen=True)
class TrainingData:
    """The data of a training, and what is needed to read it.

    Args:
        snapshot: the items and their annotations, in two folds.
        served: the backbone to train on, as it will serve.
        views: names in ml.backbones.views.VIEWS, for the training fold; the validation fold has only the original view.
        seed: for every random choice.
        on_step: called with ("activations", "tune", "features" or "train", done, total).
        is_search: the models are only compared with one another, on the validation fold; none of them will serve.
    """

    catalog: Catalog
    settings: Settings
    snapshot: Snapshot
    served: ServedBackbone
    views: Sequence[str]
    seed: int
    on_step: StepProgress
    is_search: bool = False


@dataclass(frozen=True)
class FinetuningOptions:
    """Options of the fine-tuning of a backbone's last layers.

    Args:
        layers: number of the last tunable layers to train.
        epochs: passes over the training fold.
        learning_rate: for Adam.
    """

    layers: int
    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class TunedBackbone:
    """The result of fine-tuning.

    Args:
        weights: the weights of the whole backbone.
        before: the figures on the validation fold before fine-tuning.
        history: loss and other figures of both folds, one value per epoch.
        kept_epoch: the epoch that the weights are from, from 0.
        cut_point: the tensor at which the network was cut.
        activations_mb: size of the temporary activations on disk, megabytes.
    """

    weights: BackboneWeights
    before: Figures
    history: Mapping[str, Sequence[float]]
    kept_epoch: int
    cut_point: str
    activations_mb: float


@dataclass(frozen=True)
class ModelFiles:
    """Facts about the model files that were written.

    Args:
        metrics: metrics for the MLflow run.
        tags: tags for the run and the version.
    """

    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class ForeignNetwork:
    """A network that was trained elsewhere. It takes one image and returns one value per class.

    Args:
        mlflow_run_id: the run that logged it.
        onnx: content of its ONNX file.
        image_size: side of its square input, pixels.
        scale: scale of its input pixels, a name in ml.backbones.scales.SCALES.
        classes: class names, in the order of its outputs.
        outputs: its outputs for some images, float32 (n, classes).
    """

    mlflow_run_id: str
    onnx: bytes
    image_size: int
    scale: str
    classes: tuple[str, ...]
    outputs: Floats


@dataclass(frozen=True)
class ConvertedModel:
    """The result of converting a foreign network.

    Args:
        probabilities: the expected answers of the converted model to the same images, float32 (n, classes).
        notes: sentences that describe the conversion.
    """

    probabilities: Floats
    notes: list[str]


class TrainedModel(Protocol):
    """A trained model before its files are written."""

    @property
    def history(self) -> Mapping[str, Sequence[float]]:
        """Return one value per epoch, by name, with `loss` and `val_loss`; `val_` means the validation fold.

        A training without epochs has none.
        """

    @property
    def figures(self) -> Figures:
        """Return the figures on the validation fold."""

    def draw(self, folder: Path, /) -> list[Path]:
        """Draw the task's plots other than the learning curves. Returns: PNG files in the folder."""

    def write(self, folder: Path, sample: Sequence[EvaluationItem], /) -> ModelFiles:
        """Write the files of a model version: model.onnx, model.json, and those that its card names.

        Args: sample, items of the evaluation set whose classes the model knows; networks are compared on them.
        Raises: ModelLoadError, the files do not load, or the networks disagree.
        """


@runtime_checkable
class MeasuredOnTraining(Protocol):
    """A trained model that was also measured on what it learned from: a large gap to validation means overfitting."""

    @property
    def training_figures(self) -> Figures:
        """Return the figures on the unchanged images of the training fold."""


@runtime_checkable
class CrossFitted(Protocol):
    """A trained model with answers to its snapshot by models that were trained without the item and its group."""

    @property
    def cross_fitted(self) -> Mapping[str, Floats]:
        """Return probabilities by item id, float32 (classes,), calibrated as those of the model."""


class Trainer(Protocol):
    """Trains models, one after the other, on data that it has read."""

    def fit(
        self, hyperparameters: HyperparameterValues, deadline: Deadline, on_epoch: EpochProgress | None = None, /
    ) -> TrainedModel:
        """Train a model. Equal hyperparameters give equal models.

        Args:
            deadline: training stops then, and keeps the best weights.
            on_epoch: called with the epoch, from 0, and its figures, with `val_loss`. An exception from it ends
                training. A training without epochs does not call it.
        Raises: TrainingError.
        """


class Task(AnnotationReader, Protocol):
    """A task that models are trained for. What not every task can do is in the protocols below."""

    @property
    def name(self) -> str:
        """Return the task's name in MYCOFLOW_TASK."""

    @property
    def main_figure(self) -> str:
        """Return the name of the share that the floor applies to, such as `accuracy`."""

    @property
    def counts_right_answers(self) -> bool:
        """Whether an answer is right or wrong, and the main figure is the share of right ones: it has an interval."""

    @property
    def nightly_figures(self) -> Sequence[str]:
        """Return the names of the rows of ml.figures.NIGHTLY that the task has."""

    def default_hyperparameters(self, settings: Settings, /) -> HyperparameterValues:
        """Return the hyperparameters of a retraining with these settings."""

    def prepare_trainer(self, data: TrainingData, /) -> Trainer:
        """Read the inputs of training, such as features. Compute and store those that are missing.

        Raises: ImageStoreError, an image's bytes cannot be read.
        """

    def load(self, folder: Path, /) -> Model:
        """Load a version's files and run one test prediction.

        Raises: ModelLoadError, a file is missing, damaged, or does not fit the others.
        """

    def answer_stored(
        self, catalog: Catalog, model: Model, items: Sequence[str], on_progress: Progress | None = None, /
    ) -> list[Answer]:
        """Answer stored items.

        Args:
            items: ids of the items.
            on_progress: called with (items computed, items to compute).
        Raises: ImageStoreError, an image's bytes cannot be read; MissingPartError, an item lacks a part that the model
            reads.
        """

    def measure(
        self, annotations: Sequence[Annotation], answers: Sequence[Answer], classes: Sequence[str], /
    ) -> Figures:
        """Measure answers against annotations. There must be at least one item, and the model must know all classes."""

    def score(self, annotations: Sequence[Annotation], answers: Sequence[Answer | None], /) -> Scores:
        """Score the answers to one or more items. None means that an item was not answered; its score is 0."""

    def harvest(self, answer: Answer, confidence: float, /) -> Annotation | None:
        """Return the annotation under which an item may be harvested.

        Return None if the confidence is too low, or the item seems to show none of the known classes.

        Args: confidence, MYCOFLOW_HARVEST_CONFIDENCE.
        """

    def encode(self, answer: Answer, classes: Sequence[str], count: int, /) -> list[dict[str, object]]:
        """Return an answer as JSON, best class first. Args: count, the maximum number of entries."""


@runtime_checkable
class TunableTask(Task, Protocol):
    """A task with a search for hyperparameters."""

    def suggest(self, trial: "Trial", /) -> HyperparameterValues:
        """Let Optuna choose hyperparameters."""


@runtime_checkable
class FinetunableTask(Task, Protocol):
    """A task with fine-tuning."""

    def finetune(self, data: TrainingData, options: FinetuningOptions, deadline: Deadline, /) -> TunedBackbone:
        """Train the last layers of the backbone in the training data further.

        Raises: SettingsError, the backbone has fewer layers; TrainingError.
        """


@runtime_checkable
class ConvertingTask(Task, Protocol):
    """A task that accepts foreign networks."""

    def convert(self, network: ForeignNetwork, folder: Path, /) -> ConvertedModel:
        """Write the files of a model version that gives the same answers as a foreign network.

        Raises: ModelLoadError, the network cannot be converted.
        """


def demand_tunable(task: Task) -> TunableTask:
    """Return the task. Raises: SettingsError, it has no search for hyperparameters."""
    if not isinstance(task, TunableTask):
        raise SettingsError(_lacks(task, "search for hyperparameters"))
    return task


def demand_finetunable(task: Task) -> FinetunableTask:
    """Return the task. Raises: SettingsError, it has no fine-tuning."""
    if not isinstance(task, FinetunableTask):
        raise SettingsError(_lacks(task, "fine-tuning"))
    return task


def demand_converting(task: Task) -> ConvertingTask:
    """Return the task. Raises: ModelLoadError, it accepts no foreign networks."""
    if not isinstance(task, ConvertingTask):
        raise ModelLoadError(_lacks(task, "conversion of foreign networks"))
    return task


def demand_locating(model: Model) -> LocatingModel:
    """Return the model if it can say where in an image it saw a class. Raises: NoActivationMapError, it cannot."""
    if not isinstance(model, LocatingModel):
        raise NoActivationMapError(
            f"Expected a model that says where in an image it saw a class. Models of MYCOFLOW_TASK={model.card.task} "
            "cannot."
        )
    return model


def _lacks(task: Task, what: str) -> str:
    return f"Expected a task with a {what}. Received: MYCOFLOW_TASK={task.name}, which has none. Retrain instead."
