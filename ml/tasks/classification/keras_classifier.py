"""The whole classifier in Keras, as it is kept in a model version."""

from typing import Any

from ml.backbones.base import Backbone, BackboneWeights
from ml.backbones.keras_backend import build_network, load_keras
from ml.tasks.classification.head import Head
from ml.tasks.classification.hyperparameters import DROPOUT_RATE


def build_classifier(backbone: Backbone, weights: BackboneWeights, head: Head, image_size: int) -> Any:
    """Build backbone and head in one model.

    Args:
        weights: the backbone's.
        head: the trained dense layer.
        image_size: side of the square input, pixels.
    Returns: keras.Model, uint8 RGB (batch, image_size, image_size, 3) in, probabilities (batch, classes) out.
    """
    keras = load_keras()
    network = build_network(backbone, weights, image_size)
    dropped = keras.layers.Dropout(DROPOUT_RATE, name="dropout")(network.output)
    dense = keras.layers.Dense(head.bias.shape[0], activation="softmax", name="probabilities")
    classifier = keras.Model(network.input, dense(dropped), name="classifier")
    dense.set_weights([head.kernel, head.bias])
    return classifier
