"""Train the same model without Mycoflow: two scripts in plain Keras.

`train_recipe` follows the description in the specification: frozen VGG16, GlobalAveragePooling2D, Dropout 0.2, Dense
softmax; images with new random augmentation in each epoch; batches of 32, Adam, early stopping. Its published run took
43 epochs. `train_on_features` uses that the backbone is frozen: it computes the features once, without augmentation,
standardises them, and trains the same head.

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
    """The result of a script.

    Args:
        correct: number of right answers on the evaluation set.
        count: number of images of the evaluation set.
        epoch_seconds: duration of each epoch, with validation.
    """

    correct: int
    count: int
    epoch_seconds: list[float] = field(default_factory=list)


def train_recipe(dataset: Dataset, weights: str, image_size: int, epochs: int | None) -> KerasRun:
    """Train with the specification's recipe, evaluate, save.

    Args:
        weights: a value of MYCOFLOW_WEIGHTS, so that both sides use the same weights.
        image_size: side of the square input, pixels.
        epochs: the largest number of epochs; None leaves it to early stopping.
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
    # The data set shuffles itself.
    _fit(model, {"x": training, "shuffle": False}, validation, epochs or _MOST_EPOCHS, [timer])
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
    """Return training, validation and evaluation images with their class indices, in batches."""
    read = load_keras().utils.image_dataset_from_directory
    size = (image_size, image_size)
    options = {"image_size": size, "batch_size": _BATCH_SIZE, "seed": _SEED, "verbose": False}
    training, validation = read(dataset.initial, validation_split=_VALIDATION_RATIO, subset="both", **options)
    evaluation = read(dataset.evaluation, class_names=training.class_names, shuffle=False, **options)
    return training, validation, evaluation


def _build_backbone(weights: str, image_size: int) -> list[Any]:
    """Return the layers of the backbone: preprocessing, frozen VGG16, pooling."""
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
    """Compute the features (n, 512) of batches of images, and return them with the class indices (n,)."""
    batches = [(backbone.predict_on_batch(pixels), labels.numpy()) for pixels, labels in images]
    features, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    return features, labels


def _finish(model: Any, evaluation: Any, epoch_seconds: list[float]) -> KerasRun:
    """Count a model's right answers, and save the model."""
    answers = [(model.predict_on_batch(pixels).argmax(axis=1), labels.numpy()) for pixels, labels in evaluation]
    correct = sum(int((names == labels).sum()) for names, labels in answers)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
    return KerasRun(correct, sum(len(labels) for _, labels in answers), epoch_seconds)


def _timer() -> Any:
    """Make a Keras callback that records the seconds of each epoch."""

    class Timer(load_keras().callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: object = None) -> None:
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self._began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            self.seconds.append(time.perf_counter() - self._began)

    return Timer()
