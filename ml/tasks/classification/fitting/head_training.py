"""Train the head on features of a frozen backbone. Equal features, labels and seed give bitwise equal heads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.backbones.keras_backend import load_keras, load_tensorflow
from ml.backbones.standardisation import Standardisation
from ml.confidence.cross_fitting import Division, cross_fit
from ml.deadlines import Deadline
from ml.errors import TrainingError
from ml.progress import EpochProgress
from ml.tasks.classification.fitting.in_memory import fit_in_memory
from ml.tasks.classification.head import Head, fold_into
from ml.tasks.classification.hyperparameters import DEFAULTS, Hyperparameters

MAXIMUM_EPOCHS = 200
STOPPING_PATIENCE_EPOCHS = 12
PLATEAU_PATIENCE_EPOCHS = 5
PLATEAU_FACTOR = 0.5

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class TrainedHead(Head):
    """A head, and the history of its training.

    Args:
        history: one value per epoch for each of loss, accuracy, val_loss, val_accuracy and learning_rate.
    """

    history: dict[str, list[float]]


def train_head(
    features: Floats,
    labels: Labels,
    validation_features: Floats,
    validation_labels: Labels,
    class_count: int,
    seed: int,
    deadline: Deadline,
    on_epoch: EpochProgress | None = None,
    hyperparameters: Hyperparameters = DEFAULTS,
) -> TrainedHead:
    """Train the head with Adam. Stop early or at the deadline, and return the weights of the best epoch.

    The features are standardised for training. The returned kernel and bias include the standardisation, so they apply
    to plain features.

    Args:
        features, labels: the training fold, float32 (n, feature count) and class indices (n,).
        validation_features, validation_labels: the validation fold; the best epoch has its lowest loss.
        class_count: number of classes.
        seed: for the initial kernel, the shuffling and the dropout.
        deadline: training stops then.
        on_epoch: called with the epoch, from 0, and its figures. An exception from it ends training.
        hyperparameters: see `Hyperparameters`.
    Raises: TrainingError, the data is unusable, the loss diverged, or the deadline left no time for one epoch.
    """
    _check("training", features, labels, class_count, features.shape[-1])
    _check("validation", validation_features, validation_labels, class_count, features.shape[-1])
    standardisation = Standardisation.of(features)
    model = _build(features.shape[1], class_count, seed, hyperparameters)
    history = _fit(
        model,
        hyperparameters,
        (standardisation.apply(features), labels),
        (standardisation.apply(validation_features), validation_labels),
        seed,
        [_stop_at(deadline, on_epoch)],
    )
    head = fold_into(standardisation, Head(*model.layers[-1].get_weights()))
    return TrainedHead(head.kernel, head.bias, history)


def answer_left_out(
    features: Floats,
    labels: Labels,
    class_count: int,
    divisions: Sequence[Division],
    seed: int,
    deadline: Deadline,
    hyperparameters: Hyperparameters = DEFAULTS,
) -> Floats | None:
    """Answer images with heads that were trained without them. The next division's images choose a head's epoch.

    Args:
        features: of views of n images, float32 (views, n, feature count). Images are answered in their first view.
        labels: class indices, (n,).
        divisions: of the n images.
    Returns: as ml.confidence.cross_fitting.cross_fit; None if there are fewer than 3 divisions, or too little time.
    """
    if len(divisions) < 3:
        return None
    following = dict(zip(map(id, divisions), [*divisions[1:], divisions[0]], strict=True))

    def answer(division: Division) -> Floats:
        stopping = following[id(division)].answered
        fitted = np.setdiff1d(division.fitted, stopping)
        head = train_head(
            np.concatenate(features[:, fitted]),
            np.tile(labels[fitted], len(features)),
            features[0, stopping],
            labels[stopping],
            class_count,
            seed,
            deadline,
            hyperparameters=hyperparameters,
        )
        return head.classify(features[0, division.answered])

    try:
        return cross_fit(len(labels), labels, class_count, divisions, answer)
    except TrainingError:
        if deadline.remaining():
            raise
        return None


def _check(fold: str, features: Floats, labels: Labels, class_count: int, feature_count: int) -> None:
    if features.shape != (len(labels), feature_count) or len(labels) == 0:
        raise TrainingError(
            f"Expected {fold} features of shape (n, {feature_count}) with n labels, n at least 1. "
            f"Received: {features.shape} and {labels.shape}. Take a snapshot with images in both folds."
        )
    if not np.isfinite(features).all():
        raise TrainingError(
            f"Expected finite {fold} features. Received NaN or infinity. "
            "The weights of the backbone are damaged: use others."
        )
    if labels.min() < 0 or labels.max() >= class_count or class_count < 2:
        raise TrainingError(
            f"Expected {fold} labels from 0 to {class_count - 1}, of two classes or more. "
            f"Received: {labels.min()} to {labels.max()}."
        )


def _build(feature_count: int, class_count: int, seed: int, hyperparameters: Hyperparameters) -> Any:
    keras = load_keras()
    load_tensorflow().config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input((feature_count,)),
        keras.layers.Dropout(hyperparameters.dropout_rate),
        keras.layers.Dense(class_count, activation="softmax"),
    ]
    model = keras.Sequential(layers)
    adam = keras.optimizers.Adam(hyperparameters.learning_rate, weight_decay=hyperparameters.weight_decay or None)
    adam.exclude_from_weight_decay(var_names=["bias"])
    model.compile(adam, jit_compile=False)
    return model


def _fit(
    model: Any,
    hyperparameters: Hyperparameters,
    training: tuple[Floats, Labels],
    validation: tuple[Floats, Labels],
    seed: int,
    callbacks: list[Any],
) -> dict[str, list[float]]:
    keras = load_keras()
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=STOPPING_PATIENCE_EPOCHS, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau(
        "val_loss",
        factor=PLATEAU_FACTOR,
        patience=PLATEAU_PATIENCE_EPOCHS,
        min_lr=hyperparameters.learning_rate / 100,
    )
    return fit_in_memory(
        model,
        training,
        validation,
        batch_size=hyperparameters.batch_size,
        epochs=MAXIMUM_EPOCHS,
        seed=seed,
        callbacks=[plateau, stopping, *callbacks],
    )


def _stop_at(deadline: Deadline, on_epoch: EpochProgress | None) -> Any:
    """Return a Keras callback that reports each epoch, stops at the deadline, and fails if the loss is not finite."""
    keras = load_keras()

    class StopAtDeadline(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
            if not deadline.remaining():
                raise TrainingError(
                    "Expected time for at least one epoch. The budget was used up before. "
                    "Raise MYCOFLOW_TRAINING_BUDGET_MINUTES or take a smaller snapshot."
                )

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            figures = {name: float(value) for name, value in (logs or {}).items()}
            if not np.isfinite([figures["loss"], figures["val_loss"]]).all():
                raise TrainingError(
                    f"Expected a finite loss. Received {figures['loss']} in training and {figures['val_loss']} in "
                    f"validation at epoch {epoch}. Look for damaged features in the snapshot."
                )
            if on_epoch:
                on_epoch(epoch, figures)
            if not deadline.remaining():
                self.model.stop_training = True

    return StopAtDeadline()
