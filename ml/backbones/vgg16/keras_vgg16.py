"""VGG16 in Keras, up to its pooled features."""

from typing import Any

from ml.backbones.keras_backend import load_keras
from ml.backbones.vgg16.architecture import IMAGENET_MEAN_RGB, INPUT_CHANNELS, layer_names
from ml.backbones.vgg16.weights import TrunkWeights


def build_trunk(weights: TrunkWeights, image_size: int) -> Any:
    """Build VGG16 up to its pooled features. The graph takes plain pixels and does the preprocessing itself.

    Args:
        weights: the 13 convolutions.
        image_size: side of the square input, pixels, from 32.
    Returns: keras.Model, uint8 RGB (batch, image_size, image_size, 3) in, float32 (batch, 512) out. It holds native
        layers only, so plain Keras loads it.
    Source: arXiv 1409.1556; keras.applications.vgg16, whose channel swap lies in the first kernel here.
    """
    keras = load_keras()
    shape = (image_size, image_size, INPUT_CHANNELS)
    pixels = keras.Input(shape, dtype="uint8", name="images")
    centred = keras.layers.Rescaling(1.0, [-mean for mean in IMAGENET_MEAN_RGB], name="subtract_imagenet_mean")(pixels)
    vgg16 = keras.applications.VGG16(include_top=False, weights=None, input_tensor=centred)
    for name, kernel, bias in zip(layer_names(), weights.kernels, weights.biases, strict=True):
        vgg16.get_layer(name).set_weights([kernel, bias])
    features = keras.layers.GlobalAveragePooling2D(name="features")(vgg16.output)
    return keras.Model(pixels, features, name="vgg16_trunk")
