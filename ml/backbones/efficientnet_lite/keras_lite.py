"""EfficientNet-Lite0 in Keras, up to its pooled features."""

from typing import Any

from ml.backbones.efficientnet_lite.lite_blocks import BLOCKS, Convolution
from ml.backbones.keras_backend import load_keras


def build_layers(tensor: Any, first_layer: int) -> Any:
    """Build EfficientNet-Lite0 from the first convolution of one of its blocks to its pooled features.

    Args:
        tensor: the block's input, channels-last; for the first block, (RGB - 127) / 128.
        first_layer: index of the convolution among all convolutions, 0 to 48.
    Returns: float32 (batch, 1280), a Keras tensor. All layers are Keras' own.
    """
    layers, index = load_keras().layers, 0
    for block in BLOCKS:
        if index >= first_layer:
            block_input = tensor
            for convolution in block.convolutions:
                tensor = _layer(convolution)(tensor)
            if block.adds_input:
                tensor = layers.Add(name=block.output)([block_input, tensor])
        index += len(block.convolutions)
    return layers.GlobalAveragePooling2D(name="features")(tensor)


def _layer(convolution: Convolution) -> Any:
    layers, activation = load_keras().layers, "relu6" if convolution.is_activated else None
    common = {"strides": convolution.stride, "padding": "same", "activation": activation, "name": convolution.name}
    if convolution.is_depthwise:
        return layers.DepthwiseConv2D(convolution.kernel_size, **common)
    return layers.Conv2D(convolution.channels_out, convolution.kernel_size, **common)
