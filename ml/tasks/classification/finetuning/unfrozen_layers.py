"""The tail in Keras: the part of a backbone behind the cut point, and the head. Fine-tuning trains it alone."""

import hashlib
from typing import Any

from ml.backbones.activations import SCALE
from ml.backbones.base import Backbone, BackboneWeights
from ml.backbones.cut_points import CutPoint
from ml.backbones.keras_backend import load_keras, named_variables, set_weights
from ml.backbones.served_backbone import FINETUNED
from ml.backbones.standardisation import Standardisation
from ml.tasks.classification.head import Head, take_out_of
from ml.tasks.classification.hyperparameters import DROPOUT_RATE


def build_tail(
    backbone: Backbone,
    weights: BackboneWeights,
    head: Head,
    standardisation: Standardisation,
    cut: CutPoint,
    layers: int,
    seed: int,
) -> Any:
    """Build what lies behind a cut point, with the weights that it has in the whole network.

    The head sees its features standardised, as when it was fitted: plain ones lie far from zero, and both dropout and
    Adam would shake the answers with that distance.

    Args:
        weights: the backbone's.
        head: the dense layer to start from, for plain features.
        standardisation: of the features that it was fitted on.
        cut: where the backbone is cut.
        layers: tunable layers that may change, counted from the last one back; all others of the backbone are frozen.
        seed: of the dropout.
    Returns: keras.Model, activations as `ml.backbones.activations` keeps them in, probabilities (batch, classes) out.
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
    """The whole backbone after training: what lies in front of the cut point as it was, the rest from the tail.

    Returns: weights whose recipe is `finetuned:` and the SHA-256 of all of them.
    """
    tuned = {name: variable.numpy() for name, variable in named_variables(tail) if name in weights.arrays}
    arrays = {**weights.arrays, **tuned}
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].tobytes())
    return BackboneWeights(f"{FINETUNED}{digest.hexdigest()}", arrays)
