"""Write VGG16 as ONNX, node by node, without TensorFlow. Equal weights give equal bytes on every machine."""

from typing import TYPE_CHECKING

import numpy as np

from ml.backbones.base import BackboneWeights, PixelScaling
from ml.backbones.onnx_files import (
    CHANNELS_FIRST_NAME,
    FEATURES_NAME,
    make_backbone,
    parse,
    scale_pixels,
    tensor,
)
from ml.backbones.vgg16.architecture import FEATURE_COUNT, FILTERS_PER_BLOCK, IMAGENET_MEAN_RGB, layer_names
from ml.errors import ModelLoadError

if TYPE_CHECKING:
    import onnx


def export_backbone(weights: BackboneWeights, image_size: int) -> bytes:
    """Write the backbone as an ONNX file.

    Args:
        weights: the 13 convolutions.
        image_size: side of the square input, pixels, from 32.
    Returns: ONNX with input `images`, uint8 RGB (batch, image_size, image_size, 3), and output `features`, float32
        (batch, 512). The graph itself casts, subtracts the ImageNet mean and turns to channels-first. Equal weights
        and size give equal bytes.
    """
    from onnx import helper  # noqa: PLC0415

    nodes, initializers = scale_pixels(PixelScaling(IMAGENET_MEAN_RGB))
    source = CHANNELS_FIRST_NAME
    names = iter(layer_names())
    for block, filters in enumerate(FILTERS_PER_BLOCK, start=1):
        for _ in filters:
            name = next(names)
            nodes += _convolution(name, source)
            kernel, bias = weights.arrays[f"{name}/kernel"], weights.arrays[f"{name}/bias"]
            initializers += [tensor(f"{name}_kernel", kernel.transpose(3, 2, 0, 1)), tensor(f"{name}_bias", bias)]
            source = f"{name}_relu"
        pool = f"block{block}_pool"
        nodes.append(helper.make_node("MaxPool", [source], [pool], pool, kernel_shape=[2, 2], strides=[2, 2]))
        source = pool
    nodes.append(helper.make_node("GlobalAveragePool", [source], ["pooled"], "global_average_pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], [FEATURES_NAME], "flatten", axis=1))
    return make_backbone(nodes, initializers, "vgg16", image_size, FEATURE_COUNT)


def read_backbone(backbone_onnx: bytes, recipe: str) -> BackboneWeights:
    """Read the convolutions from a backbone's ONNX file, so that only that file needs to be stored.

    Args:
        backbone_onnx: what `export_backbone` returned.
        recipe: where its weights came from.
    Raises: ModelLoadError, the bytes are not a backbone.
    """
    from onnx import numpy_helper  # noqa: PLC0415

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in parse(backbone_onnx).graph.initializer}
    try:
        kernels = {f"{n}/kernel": arrays[f"{n}_kernel"].transpose(2, 3, 1, 0) for n in layer_names()}
        biases = {f"{name}/bias": arrays[f"{name}_bias"] for name in layer_names()}
    except KeyError as error:
        raise ModelLoadError(
            f"Expected an fp32 backbone with the weights {error}. Received initialisers: {sorted(arrays)}. "
            "Export the backbone again."
        ) from error
    return BackboneWeights(recipe, {name: np.ascontiguousarray(each) for name, each in (kernels | biases).items()})


def _convolution(name: str, source: str) -> list["onnx.NodeProto"]:
    from onnx import helper  # noqa: PLC0415

    inputs = [source, f"{name}_kernel", f"{name}_bias"]
    return [
        helper.make_node("Conv", inputs, [name], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", [name], [f"{name}_relu"], f"{name}_relu"),
    ]
