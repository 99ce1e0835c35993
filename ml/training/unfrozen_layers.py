"""The tail in Keras: the part of VGG16 behind the frozen boundary, and the head. Fine-tuning trains it alone."""

import hashlib
from typing import Any

from ml.backbones.keras_backend import load_keras
from ml.backbones.served_backbone import FINETUNED
from ml.backbones.standardisation import Standardisation
from ml.backbones.vgg16.architecture import DROPOUT_RATE, FILTERS_PER_BLOCK, layer_names
from ml.backbones.vgg16.cut_points import Boundary
from ml.backbones.vgg16.weights import TrunkWeights
from ml.tasks.classification.head import Head, take_out_of
from ml.training.activations import SCALE


def build_tail(
    weights: TrunkWeights, head: Head, standardisation: Standardisation, boundary: Boundary, layers: int, seed: int
) -> Any:
    """Build what lies behind a boundary, with the weights that it has in the whole network.

    The head sees its features standardised, as when it was fitted: plain ones lie far from zero, and both dropout and
    Adam would shake the answers with that distance.

    Args:
        weights: the trunk's 13 convolutions.
        head: the dense layer to start from, for plain features.
        standardisation: of the features that it was fitted on.
        boundary: where the trunk is cut.
        layers: convolutions that may change, counted from the last one back; others behind the boundary are frozen.
        seed: of the dropout.
    Returns: keras.Model, activations as `ml.training.activations` keeps them in, probabilities (batch, classes) out.
    """
    keras = load_keras()
    tail = keras.Sequential([keras.Input(boundary.shape, dtype="float16"), keras.layers.Rescaling(1 / SCALE)])
    last_of_block = {f"block{block}_conv{len(filters)}" for block, filters in enumerate(FILTERS_PER_BLOCK, start=1)}
    names = layer_names()
    for index in range(boundary.convolution, len(names)):
        kernel, bias = weights.kernels[index], weights.biases[index]
        convolution = keras.layers.Conv2D(
            kernel.shape[3],
            kernel.shape[:2],
            padding="same",
            activation="relu",
            name=names[index],
            trainable=index >= len(names) - layers,
        )
        tail.add(convolution)
        convolution.set_weights([kernel, bias])
        if names[index] in last_of_block:
            tail.add(keras.layers.MaxPooling2D())
    tail.add(keras.layers.GlobalAveragePooling2D())
    scale, offset = standardisation.scale, -standardisation.mean * standardisation.scale
    tail.add(keras.layers.Rescaling(scale.tolist(), offset.tolist()))
    tail.add(keras.layers.Dropout(DROPOUT_RATE, seed=seed))
    dense = keras.layers.Dense(head.bias.shape[0], activation="softmax")
    tail.add(dense)
    inner = take_out_of(standardisation, head)
    dense.set_weights([inner.kernel, inner.bias])
    return tail


def tuned_weights(weights: TrunkWeights, tail: Any, layers: int) -> TrunkWeights:
    """The whole trunk after training: the frozen convolutions as they were, the tuned ones from the tail.

    Returns: weights whose recipe is `finetuned:` and the SHA-256 of all of them.
    """
    tuned = [tail.get_layer(name).get_weights() for name in layer_names()[-layers:]]
    kernels = (*weights.kernels[:-layers], *(kernel for kernel, _ in tuned))
    biases = (*weights.biases[:-layers], *(bias for _, bias in tuned))
    digest = hashlib.sha256()
    for array in (*kernels, *biases):
        digest.update(array.tobytes())
    return TrunkWeights(f"{FINETUNED}{digest.hexdigest()}", kernels, biases)
