"""Classification as a task: each item has one class. A softmax head on a backbone's features predicts it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ml.catalog.annotations import Annotation, OneClass
from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.deadlines import Deadline
from ml.figures import NIGHTLY
from ml.progress import Progress
from ml.settings import Settings
from ml.tasks.classification import NAME, hyperparameters
from ml.tasks.classification.classification_answers import encode_answer, measure_answers, score_answers
from ml.tasks.classification.classifier import Classifier
from ml.tasks.stored_answers import answer_from_features
from ml.tasks.task import (
    ConvertedModel,
    Figures,
    FinetuningOptions,
    ForeignNetwork,
    HyperparameterValues,
    Model,
    Scores,
    Task,
    Trainer,
    TrainingData,
    TunedBackbone,
)

if TYPE_CHECKING:
    from optuna import Trial


# Largest novelty of a harvested image. A label that a model gave itself teaches the next model: here a known image that
# is left out costs less than an unknown one that gets in (docs/decisions/0100).
HARVEST_NOVELTY = 0.45


class Classification(OneClass):
    """The classification task: an answer is right or wrong."""

    name = NAME
    main_figure = "accuracy"
    counts_right_answers = True
    nightly_figures = tuple(figure.name for figure in NIGHTLY)

    def default_hyperparameters(self, settings: Settings, /) -> HyperparameterValues:
        return asdict(hyperparameters.DEFAULTS) if settings.head_solver == "adam" else {}

    def suggest(self, trial: "Trial", /) -> HyperparameterValues:
        return hyperparameters.suggest(trial)

    def prepare_trainer(self, data: TrainingData, /) -> Trainer:
        from ml.tasks.classification.fitting.head_fitting import HeadTrainer  # noqa: PLC0415 - serving needs no Keras

        return HeadTrainer.read(data)

    def finetune(self, data: TrainingData, options: FinetuningOptions, deadline: Deadline, /) -> TunedBackbone:
        from ml.tasks.classification.unfreezing.backbone_tuning import tune_backbone  # noqa: PLC0415

        return tune_backbone(data, options, deadline)

    def load(self, folder: Path, /) -> Model:
        return Classifier.load(folder)

    def convert(self, network: ForeignNetwork, folder: Path, /) -> ConvertedModel:
        from ml.tasks.classification.conversion import convert_network  # noqa: PLC0415 - imports onnx

        return convert_network(network, folder)

    def answer_stored(
        self, catalog: Catalog, model: Model, items: Sequence[str], on_progress: Progress | None = None, /
    ) -> list[Answer]:
        return answer_from_features(catalog, model, items, on_progress)

    def measure(
        self, annotations: Sequence[Annotation], answers: Sequence[Answer], classes: Sequence[str], /
    ) -> Figures:
        return measure_answers(annotations, answers, classes)

    def score(self, annotations: Sequence[Annotation], answers: Sequence[Answer | None], /) -> Scores:
        return score_answers(annotations, answers)

    def harvest(self, answer: Answer, confidence: float, /) -> Annotation | None:
        is_unlike = answer.novelty is not None and answer.novelty > HARVEST_NOVELTY
        if answer.top_class is None or answer.confidence <= confidence or is_unlike:
            return None
        return Annotation((answer.top_class,))

    def encode(self, answer: Answer, classes: Sequence[str], count: int, /) -> list[dict[str, object]]:
        return encode_answer(answer, classes, count)


TASK: Task = Classification()
