"""What a task is: what models learn to answer, how well they do, and all that the nights and the service know of it.

A task has a folder of its own and one line in `ml.tasks.registered`. Nothing outside that folder knows more of it than
this protocol.
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
from ml.errors import ModelLoadError, SettingsError
from ml.progress import EpochProgress, Progress, StepProgress
from ml.settings import Settings
from ml.tasks.card import ModelCard

if TYPE_CHECKING:
    from optuna import Trial

Floats = NDArray[np.float32]
CONVERTED = "converted"  # stands for the name of a backbone in the card of a model that others trained
HyperparameterValues = Mapping[str, float]
"""How a model is trained, by name. The task alone knows the names."""


@dataclass(frozen=True)
class Output:
    """What a model says of n images.

    Args:
        answers: one for each image.
        features: float32 (n, feature count).
    """

    answers: Sequence[Answer]
    features: Floats

    @property
    def probabilities(self) -> Floats:
        """Of each class, float32 (n, classes)."""
        return np.array([answer.probabilities for answer in self.answers], np.float32)


class Model(Protocol):
    """A model version, ready to answer. Safe to call from several threads."""

    @property
    def card(self) -> ModelCard:
        """What it expects, and the classes it knows."""

    def predict(self, images: NDArray[np.uint8], /) -> Output:
        """Answer images.

        Args: images, uint8 RGB (n, size, size, 3), as `ml.backbones.preprocessing.to_pixels` makes them.
        Raises: ValueError, wrong shape or dtype.
        """

    def answer(self, features: Floats, /) -> list[Answer]:
        """Answer images whose features are known already. Args: features, float32 (n, feature count)."""


@dataclass(frozen=True)
class Figures:
    """How good a model's answers to some items are; shares from 0 to 1.

    Args:
        main: the task's main figure, the one that the floor applies to.
        shares: by name, the main figure among them; those that ml.figures lists are shown.
        per_class: class name -> {image_count, precision, recall, f1}, all classes of the model.
        confusion: confusion[i][j] items of class i were taken for class j; None where an item may have several.
    """

    main: float
    shares: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    confusion: Sequence[Sequence[int]] | None = None


@dataclass(frozen=True)
class Scores:
    """How well answers fit items, one by one: what the gate compares two models by.

    Args:
        main: the main figure of these answers.
        items: 0 to 1 for each item, (n,); their mean is compared.
        classes: class name -> how well the class was found, 0 to 1, (n,); NaN for items that do not show it. Classes
            that no item shows are missing.
    """

    main: float
    items: NDArray[np.float64]
    classes: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def of_labels(cls, labels: NDArray[np.str_], items: NDArray[np.float64]) -> "Scores":
        """Of items that show one class each; the main figure is the mean."""
        classes = {str(label): np.where(labels == label, items, np.nan) for label in np.unique(labels)}
        return cls(float(items.mean()), items, classes)


@dataclass(frozen=True)
class Lesson:
    """What is trained on.

    Args:
        snapshot: the items and their annotations, in two folds.
        served: the backbone to train on, as it will serve.
        views: names in ml.backbones.views.VIEWS, of the training fold; the validation fold is seen as it is.
        seed: of all that is drawn by chance.
        on_step: called with ("activations", "tune", "features" or "train", done, total).
    """

    catalog: Catalog
    settings: Settings
    snapshot: Snapshot
    served: ServedBackbone
    views: Sequence[str]
    seed: int
    on_step: StepProgress


@dataclass(frozen=True)
class TailOptions:
    """How the last layers of a backbone are trained further.

    Args:
        layers: tunable layers, counted from the last one back.
        epochs: times through the training fold.
        learning_rate: of Adam.
    """

    layers: int
    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class TunedBackbone:
    """What fine-tuning gave.

    Args:
        weights: the whole backbone's.
        before: the figures on the validation fold with the backbone as it was.
        history: loss and other figures of both folds, one value per epoch.
        kept_epoch: the one whose weights these are, from 0.
        cut_point: the tensor at which the network was cut.
        activations_mb: what was kept on disk meanwhile, megabytes.
    """

    weights: BackboneWeights
    before: Figures
    history: Mapping[str, Sequence[float]]
    kept_epoch: int
    cut_point: str
    activations_mb: float


@dataclass(frozen=True)
class Written:
    """What is known of a model's files once they are written.

    Args:
        metrics: for the MLflow run.
        tags: for the run and the version.
    """

    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class ForeignNetwork:
    """A network that somebody else trained: one image in, one value per class out.

    Args:
        mlflow_run_id: the run that logged it.
        onnx: its file.
        image_size: side of its square input, pixels.
        scale: how it wants its pixels, a name in ml.backbones.scales.SCALES.
        classes: their names, in the order of its outputs.
        outputs: what it gives for some images, float32 (n, classes).
    """

    mlflow_run_id: str
    onnx: bytes
    image_size: int
    scale: str
    classes: tuple[str, ...]
    outputs: Floats


@dataclass(frozen=True)
class Converted:
    """What a foreign network was made into.

    Args:
        probabilities: what the model must answer for the same images, float32 (n, classes).
        notes: how it was converted, a sentence each.
    """

    probabilities: Floats
    notes: list[str]


class Trained(Protocol):
    """A model that was trained and has no files yet."""

    @property
    def history(self) -> Mapping[str, Sequence[float]]:
        """One value per epoch; `loss` and `val_loss` are among them, and `val_` names the validation fold's."""

    @property
    def figures(self) -> Figures:
        """On the validation fold."""

    def draw(self, folder: Path, /) -> list[Path]:
        """Draw what the task has to show besides the learning curves. Returns: PNG files in the folder."""

    def write(self, folder: Path, sample: Sequence[EvaluationItem], /) -> Written:
        """Write the files of a model version: model.onnx, model.json, and those that its card names.

        Args: sample, some items of the evaluation set of classes that the model knows, to compare networks on.
        Raises: ModelLoadError, the files do not load, or two networks that should agree do not.
        """


class Trainer(Protocol):
    """A lesson that is read: models can be trained on it, one after the other."""

    def fit(
        self, hyperparameters: HyperparameterValues, deadline: Deadline, on_epoch: EpochProgress | None = None, /
    ) -> Trained:
        """Train a model; equal hyperparameters give equal models.

        Args:
            deadline: training stops here, with the best weights.
            on_epoch: called with the epoch, from 0, and its figures, `val_loss` among them. What it raises
                ends training.
        Raises: TrainingError.
        """


class Task(AnnotationReader, Protocol):
    """What models are trained for. What not every task can do is in the protocols below."""

    @property
    def name(self) -> str:
        """What MYCOFLOW_TASK calls it."""

    @property
    def main_figure(self) -> str:
        """Name of the share that the floor applies to, such as `accuracy`."""

    @property
    def counts_right_answers(self) -> bool:
        """Whether an answer is right or wrong, and the main figure is the share of right ones: it has an interval."""

    @property
    def nightly_figures(self) -> Sequence[str]:
        """Names of the rows of ml.figures.NIGHTLY that make sense for it."""

    @property
    def default_hyperparameters(self) -> HyperparameterValues:
        """Those of an ordinary retraining."""

    def read_lesson(self, lesson: Lesson, /) -> Trainer:
        """Compute what is missing of what training reads, such as features.

        Raises: ImageStoreError, an image's bytes cannot be read.
        """

    def load(self, folder: Path, /) -> Model:
        """Load a version's files and let it answer once, so that what loads also serves.

        Raises: ModelLoadError, a file is missing, damaged, or does not fit the others.
        """

    def answer_stored(
        self, catalog: Catalog, model: Model, items: Sequence[str], on_progress: Progress | None = None, /
    ) -> list[Answer]:
        """Answer items that are stored.

        Args:
            items: their ids.
            on_progress: called with (items computed, items to compute).
        Raises: ImageStoreError, an image's bytes cannot be read; MissingPartError, an item lacks what the model reads.
        """

    def measure(
        self, annotations: Sequence[Annotation], answers: Sequence[Answer], classes: Sequence[str], /
    ) -> Figures:
        """Compare answers with annotations, one or more, of classes that the model knows."""

    def score(self, annotations: Sequence[Annotation], answers: Sequence[Answer | None], /) -> Scores:
        """Score answers to items, one or more; None, the item was not answered, scores 0."""

    def harvest(self, answer: Answer, confidence: float, /) -> Annotation | None:
        """Return what an item may be kept under for training; None where the model is not sure enough.

        Args: confidence, MYCOFLOW_HARVEST_CONFIDENCE.
        """

    def encode(self, answer: Answer, classes: Sequence[str], count: int, /) -> list[dict[str, object]]:
        """Make JSON of an answer, best first. Args: count, the most entries that were asked for."""


@runtime_checkable
class TunableTask(Task, Protocol):
    """A task whose hyperparameters can be searched for."""

    def suggest(self, trial: "Trial", /) -> HyperparameterValues:
        """Let Optuna choose hyperparameters."""


@runtime_checkable
class FinetunableTask(Task, Protocol):
    """A task that can train the last layers of a backbone."""

    def finetune(self, lesson: Lesson, options: TailOptions, deadline: Deadline, /) -> TunedBackbone:
        """Train the last layers of the lesson's backbone further.

        Raises: SettingsError, it has fewer layers; TrainingError.
        """


@runtime_checkable
class ConvertingTask(Task, Protocol):
    """A task that can take models that others trained."""

    def convert(self, network: ForeignNetwork, folder: Path, /) -> Converted:
        """Write the files of a model version that answers as a network does that somebody else trained.

        Raises: ModelLoadError, it cannot be converted.
        """


def demand_tunable(task: Task) -> TunableTask:
    """Raises: SettingsError, the task has no search for hyperparameters."""
    if not isinstance(task, TunableTask):
        raise SettingsError(_lacks(task, "search for hyperparameters"))
    return task


def demand_finetunable(task: Task) -> FinetunableTask:
    """Raises: SettingsError, the task has no fine-tuning."""
    if not isinstance(task, FinetunableTask):
        raise SettingsError(_lacks(task, "fine-tuning"))
    return task


def demand_converting(task: Task) -> ConvertingTask:
    """Raises: ModelLoadError, the task takes no models that others trained."""
    if not isinstance(task, ConvertingTask):
        raise ModelLoadError(_lacks(task, "conversion of models that others trained"))
    return task


def _lacks(task: Task, what: str) -> str:
    return f"Expected a task with a {what}. Received: MYCOFLOW_TASK={task.name}, which has none. Retrain instead."
