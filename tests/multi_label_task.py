"""A multi-label task, for tests of the code that all tasks share.

The head is a dense layer with a sigmoid. A class is predicted if its probability is above one half. The answer's
`detail` has all predicted classes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.backbones.features import ensure_views, read_pixels
from ml.backbones.onnx_files import FEATURES_NAME, parse, serialise, tensor
from ml.backbones.onnx_runtime import OnnxBackbone, check_images, open_session, read_file, run_in_batches
from ml.backbones.standardisation import Standardisation
from ml.catalog.annotations import Annotation
from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.images.feature_vectors import IDENTITY
from ml.data.evaluation_sets import EvaluationItem
from ml.deadlines import Deadline
from ml.errors import LabelError, TrainingError
from ml.progress import EpochProgress, Progress
from ml.settings import Settings
from ml.tasks.card import ModelCard, load_card, save_card
from ml.tasks.registered_tasks import REGISTERED
from ml.tasks.stored_answers import answer_from_features
from ml.tasks.task import (
    Figures,
    HyperparameterValues,
    Model,
    ModelFiles,
    Output,
    Scores,
    Task,
    Trainer,
    TrainingData,
)

NAME = "multi_label"
EPOCHS = 300
FOUND = 0.5
_OUTPUTS = ["probabilities", FEATURES_NAME]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """A dense layer with a sigmoid: kernel (features, classes), bias (classes,)."""

    kernel: Floats
    bias: Floats

    def classify(self, features: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-(features @ self.kernel + self.bias))), np.float32)


class MultiLabelModel:
    """A loaded model version."""

    def __init__(self, card: ModelCard, content: bytes, head: Head) -> None:
        self.card = card
        self._session = open_session(content, "the model", threads=1)
        self._head = head

    def predict(self, images: NDArray[np.uint8], /) -> Output:
        check_images(images, self.card.image_size)
        probabilities, features = run_in_batches(self._session, _OUTPUTS, images)
        return Output(to_answers(probabilities, self.card.classes), features)

    def answer(self, features: Floats, /) -> list[Answer]:
        return to_answers(self._head.classify(features), self.card.classes)


@dataclass(frozen=True)
class TrainedModel:
    data: TrainingData
    head: Head
    history: Mapping[str, Sequence[float]]
    figures: Figures

    def draw(self, folder: Path, /) -> list[Path]:
        return []

    def write(self, folder: Path, sample: Sequence[EvaluationItem], /) -> ModelFiles:
        served = self.data.served
        joined = _join_head(served.onnx, self.head)
        (folder / "model.onnx").write_bytes(joined)
        np.savez(folder / "sigmoid_head.npz", kernel=self.head.kernel, bias=self.head.bias)
        card = ModelCard(
            classes=tuple(self.data.snapshot.classes),
            image_size=served.image_size,
            backbone_id=served.backbone_id,
            backbone=served.backbone,
            backbone_weights=served.weights_recipe,
            precision=served.precision,
            precision_reason=served.precision_reason,
            model_sha256=hashlib.sha256(joined).hexdigest(),
            task=NAME,
            files=("model.onnx", "sigmoid_head.npz"),
        )
        save_card(card, folder)
        model = TASK.load(folder)
        pixels = read_pixels(self.data.catalog, [each.demand_image() for each in sample], card.image_size)
        figures = measure([each.annotation for each in sample], model.predict(pixels).answers, card.classes)
        return ModelFiles({"sample_f1": figures.main}, {"sample_images": str(len(sample))})


@dataclass(frozen=True)
class HeadTrainer:
    """The features of both folds, and the classes of their items, 0 or 1, (n, classes)."""

    data: TrainingData
    training: tuple[Floats, Floats]
    validation: tuple[Floats, Floats]

    @classmethod
    def read(cls, data: TrainingData) -> "HeadTrainer":
        return cls(data, _read_fold(data, "train", data.views), _read_fold(data, "validation", [IDENTITY]))

    def fit(
        self, hyperparameters: HyperparameterValues, deadline: Deadline, on_epoch: EpochProgress | None = None, /
    ) -> TrainedModel:
        features, truth = self.training
        unseen, unseen_truth = self.validation
        standardisation = Standardisation.of(features)
        features, unseen = standardisation.apply(features), standardisation.apply(unseen)
        head = Head(np.zeros((features.shape[1], truth.shape[1]), np.float32), np.zeros(truth.shape[1], np.float32))
        history: dict[str, list[float]] = {"loss": [], "val_loss": []}
        for epoch in range(EPOCHS):
            if not deadline.remaining():
                raise TrainingError("Expected time for all epochs. The budget was used up before. Raise it.")
            error = (head.classify(features) - truth) / len(truth)
            rate = np.float32(hyperparameters["learning_rate"])
            head = Head(head.kernel - rate * features.T @ error, head.bias - rate * error.sum(axis=0))
            history["loss"].append(_entropy(head.classify(features), truth))
            history["val_loss"].append(_entropy(head.classify(unseen), unseen_truth))
            if on_epoch:
                on_epoch(epoch, {name: values[-1] for name, values in history.items()})
        classes = self.data.snapshot.classes
        annotations = [each.annotation for each in self.data.snapshot.items if each.fold == "validation"]
        figures = measure(annotations, to_answers(head.classify(unseen), classes), classes)
        kernel = head.kernel * standardisation.scale[:, np.newaxis]
        return TrainedModel(self.data, Head(kernel, head.bias - standardisation.mean @ kernel), history, figures)


class MultiLabel:
    """An answer is a set of classes. Its score is the F1 of the set."""

    name = NAME
    main_figure = "f1_samples"
    counts_right_answers = False
    nightly_figures = ("precision_macro", "recall_macro", "f1_macro")
    is_exclusive = False

    def default_hyperparameters(self, _settings: Settings, /) -> HyperparameterValues:
        return {"learning_rate": 0.5}

    def read_label(self, label: str, /) -> Annotation:
        names = label.split(", ")
        if not all(names) or len(set(names)) < len(names):
            raise LabelError(f"Expected names with a comma and a space between them, each once. Received: {label!r}.")
        return Annotation(tuple(sorted(names)))

    def prepare_trainer(self, data: TrainingData, /) -> Trainer:
        return HeadTrainer.read(data)

    def load(self, folder: Path, /) -> Model:
        card, content = load_card(folder), read_file(folder / "model.onnx")
        with np.load(folder / "sigmoid_head.npz") as archive:
            return MultiLabelModel(card, content, Head(archive["kernel"], archive["bias"]))

    def answer_stored(
        self, catalog: Catalog, model: Model, items: Sequence[str], on_progress: Progress | None = None, /
    ) -> list[Answer]:
        return answer_from_features(catalog, model, items, on_progress)

    def measure(
        self, annotations: Sequence[Annotation], answers: Sequence[Answer], classes: Sequence[str], /
    ) -> Figures:
        return measure(annotations, answers, classes)

    def score(self, annotations: Sequence[Annotation], answers: Sequence[Answer | None], /) -> Scores:
        found = [set() if answer is None else found_in(answer) for answer in answers]
        shown = [set(annotation.class_names) for annotation in annotations]
        names = sorted(set().union(*shown))
        items = np.array([_f1(one, other) for one, other in zip(shown, found, strict=True)])
        classes = {
            name: np.array([float(name in f) if name in s else np.nan for s, f in zip(shown, found, strict=True)])
            for name in names
        }
        return Scores(float(items.mean()), items, classes)

    def harvest(self, answer: Answer, confidence: float, /) -> Annotation | None:
        """Return all predicted classes if the model is confident about every class."""
        found = tuple(sorted(found_in(answer)))
        return Annotation(found) if found and answer.confidence > confidence else None

    def encode(self, answer: Answer, classes: Sequence[str], count: int, /) -> list[dict[str, object]]:
        best, found = np.argsort(-answer.probabilities, kind="stable")[:count], found_in(answer)
        return [
            {
                "name": classes[index],
                "proba": round(100 * float(answer.probabilities[index]), 2),
                "is_found": classes[index] in found,
            }
            for index in best
        ]


def to_answers(probabilities: Floats, classes: Sequence[str]) -> list[Answer]:
    """Return answers. The confidence is that of the least certain class."""
    return [_to_answer(row, classes) for row in probabilities]


def _to_answer(row: Floats, classes: Sequence[str]) -> Answer:
    first, second = np.sort(row)[::-1][:2]
    found = [classes[index] for index in np.flatnonzero(row > FOUND)]
    top = classes[int(row.argmax())] if found else None
    confidence = float(np.maximum(row, 1 - row).min())
    return Answer(top, confidence, float(first - second), row, detail={"found": found})


def found_in(answer: Answer) -> set[str]:
    assert answer.detail is not None
    found = answer.detail["found"]
    assert isinstance(found, list)
    return set(found)


def measure(annotations: Sequence[Annotation], answers: Sequence[Answer], classes: Sequence[str]) -> Figures:
    from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

    truth = mark([annotation.class_names for annotation in annotations], classes)
    found = mark([sorted(found_in(answer)) for answer in answers], classes)
    precision, recall, f1, counts = precision_recall_fscore_support(truth, found, average=None, zero_division=0)
    per_class = {
        name: {"image_count": int(counts[i]), "precision": precision[i], "recall": recall[i], "f1": f1[i]}
        for i, name in enumerate(classes)
    }
    shown = counts > 0
    main = float(f1_score(truth, found, average="samples", zero_division=0))
    shares = {
        "f1_samples": main,
        "exact_match": float(accuracy_score(truth, found)),
        "precision_macro": float(precision[shown].mean()),
        "recall_macro": float(recall[shown].mean()),
        "f1_macro": float(f1[shown].mean()),
    }
    return Figures(main, shares, per_class)


def mark(names: Sequence[Sequence[str]], classes: Sequence[str]) -> NDArray[np.float32]:
    """Return 1 for each class that an item shows, 0 for the others, (items, classes)."""
    return np.array([[float(name in some) for name in classes] for some in names], np.float32)


def _f1(shown: set[str], found: set[str]) -> float:
    return 2 * len(shown & found) / (len(shown) + len(found)) if shown or found else 0.0


def _entropy(probabilities: Floats, truth: Floats) -> float:
    likelihoods = np.clip(np.where(truth > 0, probabilities, 1 - probabilities), 1e-7, 1)
    return float(-np.log(likelihoods).mean())


def _read_fold(data: TrainingData, fold: str, views: Sequence[str]) -> tuple[Floats, Floats]:
    items, backbone = [each for each in data.snapshot.items if each.fold == fold], OnnxBackbone(data.served.onnx)
    features = ensure_views(
        data.catalog,
        backbone.features,
        backbone.backbone_id,
        backbone.image_size,
        [item.demand_image() for item in items],
        views,
        lambda done, total: data.on_step("features", done, total),
    )
    truth = mark([item.annotation.class_names for item in items], data.snapshot.classes)
    return np.concatenate(features), np.tile(truth, (len(views), 1))


def _join_head(backbone_onnx: bytes, head: Head) -> bytes:
    from onnx import TensorProto, helper

    graph = parse(backbone_onnx).graph
    graph.node.append(helper.make_node("Gemm", [FEATURES_NAME, "head_kernel", "head_bias"], ["logits"], "head"))
    graph.node.append(helper.make_node("Sigmoid", ["logits"], ["probabilities"], "sigmoid"))
    graph.initializer.extend([tensor("head_kernel", head.kernel), tensor("head_bias", head.bias)])
    shape = ["batch", head.bias.shape[0]]
    graph.output.insert(0, helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, shape))
    return serialise(graph)


TASK: Task = MultiLabel()
REGISTERED[NAME] = __name__
