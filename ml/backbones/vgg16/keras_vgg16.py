"""VGG16 in Keras, up to its pooled features."""

from typing import Any

from ml.backbones.keras_backend import load_keras
from ml.backbones.vgg16.architecture import FILTERS_PER_BLOCK, kernel_shapes, layer_names


def build_layers(tensor: Any, first_layer: int) -> Any:
    """Build VGG16 from one of its convolutions to its pooled features.

    Args:
        tensor: the input of that convolution, channels-last; for the first one, RGB minus the ImageNet mean.
        first_layer: index of the convolution, 0 to 12.
    Returns: float32 (batch, 512), a Keras tensor. Layers are native and named as in keras.applications.vgg16.
    """
    layers = load_keras().layers
    last_of_block = {f"block{block}_conv{len(filters)}": block for block, filters in enumerate(FILTERS_PER_BLOCK, 1)}
    for name, shape in list(zip(layer_names(), kernel_shapes(), strict=True))[first_layer:]:
        tensor = layers.Conv2D(shape[3], shape[:2], padding="same", activation="relu", name=name)(tensor)
        if name in last_of_block:
            tensor = layers.MaxPooling2D(name=f"block{last_of_block[name]}_pool")(tensor)
    return layers.GlobalAveragePooling2D(name="features")(tensor)
