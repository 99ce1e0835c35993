"""What a user would do instead of Mycoflow to train the same model: two scripts in plain Keras.

`train_recipe` is the specification's recipe, written from its description: frozen VGG16, GlobalAveragePooling2D,
Dropout 0.2, Dense softmax; images augmented anew in each epoch; batches of 32, Adam, early stopping. Its published run
took 43 epochs. `train_on_features` is what one does who knows that the backbone is frozen: its features once, without
augmentation, standardised, then the same head.

Source: keras.io, "Transfer learning & fine-tuning"; keras.applications.vgg16.
"""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.dataset import Dataset
from ml.backbones.keras_backend import load_keras, set_weights
from ml.backbones.vgg16.weights import resolve_weights

PUBLISHED_EPOCHS = 43
_BATCH_SIZE = 32
_VALIDATION_RATIO = 0.2
_PATIENCE_EPOCHS = 5
_MOST_EPOCHS = 200
_SEED = 0

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class KerasRun:
    """What a script did.

    Args:
        correct: images of the evaluation set that it names right.
        count: images of the evaluation set.
        epoch_seconds: how long each epoch took, validation included.
    """

    correct: int
    count: int
    epoch_seconds: list[float] = field(default_factory=list)


def train_recipe(dataset: Dataset, weights: str, image_size: int, epochs: int | None) -> KerasRun:
    """Train as the specification says, evaluate, save.

    Args:
        weights: as the setting MYCOFLOW_WEIGHTS, so that both sides have the same.
        image_size: side of the square input, pixels.
        epochs: so many and no more; as early stopping says when None.
    """
    keras = load_keras()
    keras.utils.set_random_seed(_SEED)
    training, validation, evaluation = _load(dataset, image_size)
    augmentation = [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomRotation(0.1),
        keras.layers.RandomZoom(0.1),
    ]
    backbone = _build_backbone(weights, image_size)
    model = keras.Sequential([*augmentation, *backbone, *_build_head(len(training.class_names))])
    timer = _timer()
    _fit(model, {"x": training, "shuffle": False}, validation, epochs or _MOST_EPOCHS, [timer])  # it shuffles itself
    return _finish(model, evaluation, timer.seconds)


def train_on_features(dataset: Dataset, weights: str, image_size: int) -> KerasRun:
    """Compute the features once, standardise them, train the head on them, evaluate, save."""
    keras = load_keras()
    keras.utils.set_random_seed(_SEED)
    training, validation, evaluation = _load(dataset, image_size)
    backbone = keras.Sequential([keras.Input((image_size, image_size, 3)), *_build_backbone(weights, image_size)])
    features, labels = _featurise(backbone, training)
    standardise = keras.layers.Normalization()
    standardise.adapt(features)
    head = keras.Sequential([standardise, *_build_head(len(training.class_names))])
    data = {"x": features, "y": labels, "batch_size": _BATCH_SIZE}
    _fit(head, data, _featurise(backbone, validation), _MOST_EPOCHS, [])
    return _finish(keras.Sequential([backbone, head]), evaluation, [])


def _load(dataset: Dataset, image_size: int) -> tuple[Any, Any, Any]:
    """Training, validation and evaluation images with their class indices, in batches."""
    read = load_keras().utils.image_dataset_from_directory
    size = (image_size, image_size)
    options = {"image_size": size, "batch_size": _BATCH_SIZE, "seed": _SEED, "verbose": False}
    training, validation = read(dataset.initial, validation_split=_VALIDATION_RATIO, subset="both", **options)
    evaluation = read(dataset.evaluation, class_names=training.class_names, shuffle=False, **options)
    return training, validation, evaluation


def _build_backbone(weights: str, image_size: int) -> list[Any]:
    """Preprocessing, VGG16 frozen, pooling."""
    keras = load_keras()
    vgg16 = keras.applications.VGG16(include_top=False, weights=None, input_shape=(image_size, image_size, 3))
    set_weights(vgg16, resolve_weights(weights))
    kernel, bias = vgg16.get_layer("block1_conv1").get_weights()
    vgg16.get_layer("block1_conv1").set_weights([kernel[:, :, ::-1, :], bias])  # preprocess_input turns RGB to BGR
    vgg16.trainable = False
    preprocess = keras.layers.Lambda(keras.applications.vgg16.preprocess_input)
    return [preprocess, vgg16, keras.layers.GlobalAveragePooling2D()]


def _build_head(class_count: int) -> list[Any]:
    layers = load_keras().layers
    return [layers.Dropout(0.2), layers.Dense(class_count, activation="softmax")]


def _fit(model: Any, data: dict[str, Any], validation: Any, epochs: int, callbacks: list[Any]) -> None:
    stopping = load_keras().callbacks.EarlyStopping("val_loss", patience=_PATIENCE_EPOCHS, restore_best_weights=True)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(**data, validation_data=validation, epochs=epochs, callbacks=[stopping, *callbacks], verbose=0)


def _featurise(backbone: Any, images: Any) -> tuple[Floats, Labels]:
    """The features (n, 512) and the class indices (n,) of images that come in batches."""
    batches = [(backbone.predict_on_batch(pixels), labels.numpy()) for pixels, labels in images]
    features, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    return features, labels


def _finish(model: Any, evaluation: Any, epoch_seconds: list[float]) -> KerasRun:
    """Count what a model names right, and save it."""
    answers = [(model.predict_on_batch(pixels).argmax(axis=1), labels.numpy()) for pixels, labels in evaluation]
    correct = sum(int((names == labels).sum()) for names, labels in answers)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
    return KerasRun(correct, sum(len(labels) for _, labels in answers), epoch_seconds)


def _timer() -> Any:
    """A Keras callback that keeps the seconds of each epoch."""

    class Timer(load_keras().callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: object = None) -> None:
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self._began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            self.seconds.append(time.perf_counter() - self._began)

    return Timer()
