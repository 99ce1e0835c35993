"""Train a small Keras model on arrays in memory. One graph runs a whole epoch.

Keras' `fit` creates iterators for every epoch, and leaves the graph after every batch. For a head of one layer, this
takes most of the time: the same training is ten times as fast in one graph.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.backbones.keras_backend import load_keras, load_tensorflow

Examples = tuple[NDArray[np.float32], NDArray[np.int64]]


def fit_in_memory(
    model: Any,
    training: Examples,
    validation: Examples,
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    callbacks: Sequence[Any],
) -> dict[str, list[float]]:
    """Train like `model.fit`: with shuffled batches, validation after each epoch, callbacks and history.

    Args:
        model: a compiled classifier that returns probabilities. Its optimizer is used; the loss is the cross-entropy.
        training, validation: examples (n, ...) and class indices (n,).
        seed: for the order of the examples in each epoch.
        callbacks: Keras callbacks, called at the start and the end of training and epochs, but not of batches.
    Returns: one value per epoch for loss, accuracy, val_loss, val_accuracy and learning_rate.
    """
    train_epoch, validate = _graphs(model, training, validation, batch_size)
    random = np.random.default_rng(seed)
    listeners = load_keras().callbacks.CallbackList(list(callbacks), model=model)
    history: dict[str, list[float]] = {}
    model.stop_training = False
    listeners.on_train_begin()
    for epoch in range(epochs):
        listeners.on_epoch_begin(epoch)
        figures = [*train_epoch(random.permutation(len(training[1]))), *validate()]
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        logs = dict(zip(names, (float(figure) for figure in figures), strict=True))
        logs["learning_rate"] = float(model.optimizer.learning_rate)
        listeners.on_epoch_end(epoch, logs)
        for name, value in logs.items():
            history.setdefault(name, []).append(value)
        if model.stop_training:
            break
    listeners.on_train_end()
    return history


def _graphs(model: Any, training: Examples, validation: Examples, batch_size: int) -> tuple[Any, Any]:
    tf, entropy = load_tensorflow(), load_keras().losses.sparse_categorical_crossentropy
    examples, labels = tf.constant(training[0]), tf.constant(training[1])
    validation_examples, validation_labels = tf.constant(validation[0]), tf.constant(validation[1])
    count = len(training[1])
    model.optimizer.build(model.trainable_variables)

    @tf.function  # type: ignore[untyped-decorator]
    def train_epoch(order: Any) -> tuple[Any, Any]:
        loss, right = tf.constant(0.0), tf.constant(0.0)
        for start in tf.range(0, count, batch_size):
            chosen = order[start : start + batch_size]
            truth = tf.gather(labels, chosen)
            with tf.GradientTape() as tape:
                probabilities = model(tf.gather(examples, chosen), training=True)
                losses = entropy(truth, probabilities)
                mean = tf.reduce_mean(losses)
            model.optimizer.apply(tape.gradient(mean, model.trainable_variables), model.trainable_variables)
            loss += tf.reduce_sum(losses)
            right += _count_right(tf, truth, probabilities)
        return loss / count, right / count

    @tf.function  # type: ignore[untyped-decorator]
    def validate() -> tuple[Any, Any]:
        probabilities = model(validation_examples, training=False)
        right = _count_right(tf, validation_labels, probabilities)
        return tf.reduce_mean(entropy(validation_labels, probabilities)), right / len(validation[1])

    return train_epoch, validate


def _count_right(tf: Any, truth: Any, probabilities: Any) -> Any:
    return tf.reduce_sum(tf.cast(tf.argmax(probabilities, axis=1) == truth, tf.float32))
