"""Train the tail on stored activations, within a time limit. The result has the weights of the best epoch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.backbones.keras_backend import load_keras, load_tensorflow
from ml.deadlines import Deadline
from ml.errors import TrainingError
from ml.progress import EpochProgress
from ml.tasks.classification.unfreezing.activations import Activations

BATCH_SIZE = 32


@dataclass(frozen=True)
class Examples:
    """The tail's training and validation examples.

    Args:
        activations: fp16 (n, height, width, channels), memory-mapped from disk.
        labels: class indices, int64 (n,).
        is_training: True for the training fold, False for the validation fold, bool (n,).
    """

    activations: Activations
    labels: NDArray[np.int64]
    is_training: NDArray[np.bool_]


def train_tail(
    tail: Any,
    examples: Examples,
    epochs: int,
    learning_rate: float,
    seed: int,
    deadline: Deadline,
    on_epoch: EpochProgress | None = None,
) -> dict[str, list[float]]:
    """Train with Adam, and restore the weights of the best epoch.

    The best epoch has the highest validation accuracy; if several have it, the one of them with the lowest validation
    loss. If the time runs out within an epoch, the epoch ends then, and counts like any other.

    Args:
        tail: the model from `build_tail`; it is changed in place.
        examples: activations and labels of both folds.
        epochs: passes over the training fold.
        learning_rate: for Adam.
        seed: for the shuffling.
        deadline: training stops then.
        on_epoch: called with the epoch, from 0, and its figures.
    Returns: for each of loss, accuracy, val_loss and val_accuracy, one value per epoch.
    Raises: TrainingError, there was no time to start, or the loss diverged.
    """
    if not deadline.remaining():
        raise TrainingError(
            "Expected time left to fine-tune. Features and activations took the whole budget: raise "
            "MYCOFLOW_TRAINING_BUDGET_MINUTES, tune fewer layers or take a smaller snapshot."
        )
    keras = load_keras()
    load_tensorflow().config.experimental.enable_op_determinism()
    adam = keras.optimizers.Adam(learning_rate)
    tail.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    fitted = tail.fit(
        _batches(examples, examples.is_training, seed),
        validation_data=_batches(examples, ~examples.is_training),
        epochs=epochs,
        callbacks=[_keep_best(deadline, on_epoch)],
        shuffle=False,  # Keras would shuffle only the order of the batches; `_batches` shuffles the images
        verbose=0,
    )
    return {name: [float(value) for value in values] for name, values in fitted.history.items()}


def best_epoch(history: Mapping[str, Sequence[float]]) -> int:
    """Return the epoch whose weights were kept, from 0."""
    ranks = [*zip(history["val_accuracy"], (-loss for loss in history["val_loss"]), strict=True)]
    return ranks.index(max(ranks))


def _batches(examples: Examples, is_chosen: NDArray[np.bool_], shuffle_seed: int | None = None) -> Any:
    """Return a Keras dataset that reads each batch from the memory-mapped file when it is needed."""
    keras = load_keras()
    rows = np.flatnonzero(is_chosen)
    generator = None if shuffle_seed is None else np.random.default_rng(shuffle_seed)

    class Batches(keras.utils.PyDataset):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.on_epoch_end()

        def __len__(self) -> int:
            return math.ceil(len(rows) / BATCH_SIZE)

        def __getitem__(self, index: int) -> tuple[Activations, NDArray[np.int64]]:
            chosen = np.sort(self._order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE])  # in the order of the file
            return examples.activations[chosen], examples.labels[chosen]

        def on_epoch_end(self) -> None:
            self._order = rows if generator is None else generator.permutation(rows)

    return Batches()


def _keep_best(deadline: Deadline, on_epoch: EpochProgress | None) -> Any:
    """Return a Keras callback that reports each epoch, stops at the deadline, and restores the best weights."""
    keras = load_keras()

    class KeepBest(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
            self._best: tuple[float, float] | None = None
            self._weights: list[NDArray[np.float32]] = []

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            if not deadline.remaining():
                self.model.stop_training = True

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            figures = {name: float(value) for name, value in (logs or {}).items()}
            if not np.isfinite([figures["loss"], figures["val_loss"]]).all():
                raise TrainingError(
                    f"Expected a finite loss. Received {figures['loss']} in training and {figures['val_loss']} in "
                    f"validation at epoch {epoch}. Use a lower learning rate."
                )
            rank = (figures["val_accuracy"], -figures["val_loss"])
            if self._best is None or rank > self._best:
                self._best, self._weights = rank, self.model.get_weights()
            if on_epoch:
                on_epoch(epoch, figures)

        def on_train_end(self, logs: dict[str, float] | None = None) -> None:
            self.model.set_weights(self._weights)

    return KeepBest()
