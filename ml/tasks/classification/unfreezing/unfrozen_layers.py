"""The tail in Keras: the part of a backbone after the cut point, and the head. Fine-tuning trains only this part."""

import hashlib
from typing import Any

from ml.backbones.base import Backbone, BackboneWeights
from ml.backbones.cut_points import CutPoint
from ml.backbones.keras_backend import load_keras, named_variables, set_weights
from ml.backbones.served_backbone import FINETUNED
from ml.backbones.standardisation import Standardisation
from ml.tasks.classification.head import Head, take_out_of
from ml.tasks.classification.hyperparameters import DROPOUT_RATE
from ml.tasks.classification.unfreezing.activations import SCALE


def build_tail(
    backbone: Backbone,
    weights: BackboneWeights,
    head: Head,
    standardisation: Standardisation,
    cut: CutPoint,
    layers: int,
    seed: int,
) -> Any:
    """Build the part of the network after a cut point, with the weights of the whole network.

    The head gets standardised features, as in its own training. Plain features are far from zero, so that dropout and
    Adam's steps would change the answers too much.

    Args:
        weights: weights of the whole backbone.
        head: the dense layer to start from, for plain features.
        standardisation: standardisation of the features that the head was trained on.
        cut: cut point of the backbone.
        layers: number of the last tunable layers to train; all other layers of the backbone are frozen.
        seed: for the dropout.
    Returns: keras.Model. Input: activations in the form of the module `activations`. Output: probabilities
        (batch, classes).
    """
    keras = load_keras()
    activations = keras.Input(cut.shape, dtype="float16")
    features = backbone.build_layers(keras.layers.Rescaling(1 / SCALE)(activations), cut.layer)
    frozen = keras.Model(activations, features)
    for layer in frozen.layers:
        layer.trainable = layer.name in backbone.tunable_layers[-layers:]
    scale, offset = standardisation.scale, -standardisation.mean * standardisation.scale
    standardised = keras.layers.Rescaling(scale.tolist(), offset.tolist())(features)
    dense = keras.layers.Dense(head.bias.shape[0], activation="softmax")
    tail = keras.Model(activations, dense(keras.layers.Dropout(DROPOUT_RATE, seed=seed)(standardised)))
    set_weights(tail, weights)
    inner = take_out_of(standardisation, head)
    dense.set_weights([inner.kernel, inner.bias])
    return tail


def tuned_weights(weights: BackboneWeights, tail: Any) -> BackboneWeights:
    """Return the weights of the whole backbone after training: the tail's weights replace the former ones.

    Returns: weights whose recipe is `finetuned:` and the SHA-256 of all weights.
    """
    tuned = {name: variable.numpy() for name, variable in named_variables(tail) if name in weights.arrays}
    arrays = {**weights.arrays, **tuned}
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].tobytes())
    return BackboneWeights(f"{FINETUNED}{digest.hexdigest()}", arrays)
