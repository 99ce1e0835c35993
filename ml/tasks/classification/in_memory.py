"""Train a small Keras model on arrays that fit into memory, an epoch at a time in one graph.

Keras' `fit` makes iterators for every epoch and leaves the graph for every batch. For a head of one layer that is
nearly all the time there is: the same training is ten times as fast like this.
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
    """Do what `model.fit` does: shuffled batches, validation after each epoch, callbacks, history.

    Args:
        model: a compiled classifier that gives probabilities; its optimizer is used, its loss is the cross-entropy.
        training, validation: examples (n, ...) and class indices (n,).
        seed: of the order in each epoch.
        callbacks: Keras', called at the beginning and the end of training and epochs, not of batches.
    Returns: for loss, accuracy, val_loss, val_accuracy and learning_rate, one value per epoch.
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
    unseen, truth = tf.constant(validation[0]), tf.constant(validation[1])
    count = len(training[1])
    model.optimizer.build(model.trainable_variables)

    @tf.function  # type: ignore[untyped-decorator]
    def train_epoch(order: Any) -> tuple[Any, Any]:
        loss, right = tf.constant(0.0), tf.constant(0.0)
        for start in tf.range(0, count, batch_size):
            chosen = order[start : start + batch_size]
            answers = tf.gather(labels, chosen)
            with tf.GradientTape() as tape:
                probabilities = model(tf.gather(examples, chosen), training=True)
                losses = entropy(answers, probabilities)
                mean = tf.reduce_mean(losses)
            model.optimizer.apply(tape.gradient(mean, model.trainable_variables), model.trainable_variables)
            loss += tf.reduce_sum(losses)
            right += _count_right(tf, answers, probabilities)
        return loss / count, right / count

    @tf.function  # type: ignore[untyped-decorator]
    def validate() -> tuple[Any, Any]:
        probabilities = model(unseen, training=False)
        right = _count_right(tf, truth, probabilities)
        return tf.reduce_mean(entropy(truth, probabilities)), right / len(validation[1])

    return train_epoch, validate


def _count_right(tf: Any, truth: Any, probabilities: Any) -> Any:
    return tf.reduce_sum(tf.cast(tf.argmax(probabilities, axis=1) == truth, tf.float32))
