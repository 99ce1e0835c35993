"""VGG16 as ONNX, node by node. Needs no TensorFlow, and the same weights give the same bytes everywhere."""

from typing import TYPE_CHECKING

import numpy as np

from ml.backbones.onnx_files import FEATURES_NAME, INPUT_NAME, parse, serialise, tensor
from ml.backbones.vgg16.architecture import (
    FEATURE_COUNT,
    FILTERS_PER_BLOCK,
    IMAGENET_MEAN_RGB,
    INPUT_CHANNELS,
    layer_names,
)
from ml.backbones.vgg16.weights import TrunkWeights
from ml.errors import ModelLoadError

if TYPE_CHECKING:
    import onnx


def export_trunk(weights: TrunkWeights, image_size: int) -> bytes:
    """Write the trunk as an ONNX file.

    Args:
        weights: the 13 convolutions.
        image_size: side of the square input, pixels, from 32.
    Returns: ONNX with input `images`, uint8 RGB (batch, image_size, image_size, 3), and output `features`, float32
        (batch, 512). It casts, subtracts the ImageNet mean and turns to channels-first itself. Equal weights and
        size give equal bytes.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415

    nodes, initializers = _preprocessing()
    source = "channels_first"
    names = iter(zip(layer_names(), weights.kernels, weights.biases, strict=True))
    for block, filters in enumerate(FILTERS_PER_BLOCK, start=1):
        for _ in filters:
            name, kernel, bias = next(names)
            nodes += _convolution(name, source)
            initializers += [tensor(f"{name}_kernel", kernel.transpose(3, 2, 0, 1)), tensor(f"{name}_bias", bias)]
            source = f"{name}_relu"
        pool = f"block{block}_pool"
        nodes.append(helper.make_node("MaxPool", [source], [pool], pool, kernel_shape=[2, 2], strides=[2, 2]))
        source = pool
    nodes.append(helper.make_node("GlobalAveragePool", [source], ["pooled"], "global_average_pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], [FEATURES_NAME], "flatten", axis=1))
    shape: list[str | int | None] = ["batch", image_size, image_size, INPUT_CHANNELS]
    graph = helper.make_graph(
        nodes,
        "vgg16_trunk",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(FEATURES_NAME, TensorProto.FLOAT, ["batch", FEATURE_COUNT])],
        initializers,
    )
    return serialise(graph)


def read_trunk(trunk_onnx: bytes, recipe: str) -> TrunkWeights:
    """Read the convolutions back out of a trunk, so that nothing but the ONNX file needs to be kept.

    Args:
        trunk_onnx: what `export_trunk` returned.
        recipe: where its weights came from.
    Raises: ModelLoadError, the bytes are not a trunk.
    """
    from onnx import numpy_helper  # noqa: PLC0415

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in parse(trunk_onnx).graph.initializer}
    try:
        kernels = tuple(np.ascontiguousarray(arrays[f"{n}_kernel"].transpose(2, 3, 1, 0)) for n in layer_names())
        return TrunkWeights(recipe, kernels, tuple(arrays[f"{name}_bias"] for name in layer_names()))
    except KeyError as error:
        raise ModelLoadError(
            f"Expected an fp32 trunk with the weights {error}. Received initialisers: {sorted(arrays)}. "
            "Export the trunk again."
        ) from error


def _preprocessing() -> tuple[list["onnx.NodeProto"], list["onnx.TensorProto"]]:
    from onnx import TensorProto, helper  # noqa: PLC0415

    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["pixels"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "imagenet_mean"], ["centred"], "subtract_imagenet_mean"),
        helper.make_node("Transpose", ["centred"], ["channels_first"], "to_channels_first", perm=[0, 3, 1, 2]),
    ]
    return nodes, [tensor("imagenet_mean", np.array(IMAGENET_MEAN_RGB, np.float32))]


def _convolution(name: str, source: str) -> list["onnx.NodeProto"]:
    from onnx import helper  # noqa: PLC0415

    inputs = [source, f"{name}_kernel", f"{name}_bias"]
    return [
        helper.make_node("Conv", inputs, [name], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", [name], [f"{name}_relu"], f"{name}_relu"),
    ]
