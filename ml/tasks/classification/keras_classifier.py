"""The whole classifier in Keras, as it is kept in a model version."""

from typing import Any

from ml.backbones.keras_backend import load_keras
from ml.backbones.vgg16.architecture import DROPOUT_RATE
from ml.backbones.vgg16.keras_vgg16 import build_trunk
from ml.backbones.vgg16.weights import TrunkWeights
from ml.tasks.classification.head import Head


def build_classifier(weights: TrunkWeights, head: Head, image_size: int) -> Any:
    """Build trunk and head in one model.

    Args:
        weights: the trunk's 13 convolutions.
        head: the trained dense layer.
        image_size: side of the square input, pixels.
    Returns: keras.Model, uint8 RGB (batch, image_size, image_size, 3) in, probabilities (batch, classes) out.
    """
    keras = load_keras()
    trunk = build_trunk(weights, image_size)
    dropped = keras.layers.Dropout(DROPOUT_RATE, name="dropout")(trunk.output)
    dense = keras.layers.Dense(head.bias.shape[0], activation="softmax", name="probabilities")
    classifier = keras.Model(trunk.input, dense(dropped), name="vgg16_classifier")
    dense.set_weights([head.kernel, head.bias])
    return classifier
