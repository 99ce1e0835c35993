"""Write EfficientNet-Lite0 as ONNX, node by node, without TensorFlow. Equal weights give equal bytes everywhere."""

from typing import TYPE_CHECKING

import numpy as np

from ml.backbones.base import BackboneWeights, PixelScaling
from ml.backbones.efficientnet_lite.lite_blocks import (
    BLOCKS,
    CONVOLUTIONS,
    FEATURE_COUNT,
    HIGHEST_ACTIVATION,
    Convolution,
    sides,
)
from ml.backbones.onnx_files import (
    CHANNELS_FIRST_NAME,
    FEATURES_NAME,
    make_backbone,
    parse,
    scale_pixels,
    tensor,
)
from ml.errors import ModelLoadError

if TYPE_CHECKING:
    import onnx

PIXEL_SCALING = PixelScaling((127.0, 127.0, 127.0), (1 / 128, 1 / 128, 1 / 128))


def export_backbone(weights: BackboneWeights, image_size: int) -> bytes:
    """Write the backbone as an ONNX file.

    Args:
        weights: the 49 convolutions.
        image_size: side of the square input, pixels, from 32.
    Returns: ONNX with input `images`, uint8 RGB (batch, image_size, image_size, 3), and output `features`, float32
        (batch, 1280).
    """
    from onnx import helper  # noqa: PLC0415

    nodes, initializers = scale_pixels(PIXEL_SCALING)
    initializers += [
        tensor("lowest_activation", np.array(0, np.float32)),
        tensor("highest_activation", np.array(HIGHEST_ACTIVATION, np.float32)),
    ]
    source = CHANNELS_FIRST_NAME
    for block, side in zip(BLOCKS, sides(image_size), strict=True):
        block_input = source
        for convolution in block.convolutions:
            nodes += _convolution(convolution, source, side)
            kernel, bias = (weights.arrays[f"{convolution.name}/{each}"] for each in ("kernel", "bias"))
            initializers += [
                tensor(f"{convolution.name}_kernel", convolution.to_onnx(kernel)),
                tensor(f"{convolution.name}_bias", bias),
            ]
            source = convolution.output
        if block.adds_input:
            nodes.append(helper.make_node("Add", [block_input, source], [block.output], block.output))
            source = block.output
    nodes.append(helper.make_node("GlobalAveragePool", [source], ["pooled"], "global_average_pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], [FEATURES_NAME], "flatten", axis=1))
    return make_backbone(nodes, initializers, "efficientnet_lite0", image_size, FEATURE_COUNT)


def read_backbone(backbone_onnx: bytes, recipe: str) -> BackboneWeights:
    """Read the convolutions from a backbone's ONNX file, so that only that file needs to be stored.

    Args:
        backbone_onnx: what `export_backbone` returned.
        recipe: where its weights came from.
    Raises: ModelLoadError, the bytes are not a backbone.
    """
    from onnx import numpy_helper  # noqa: PLC0415

    found = {each.name: numpy_helper.to_array(each) for each in parse(backbone_onnx).graph.initializer}
    arrays = {}
    try:
        for each in CONVOLUTIONS:
            arrays[f"{each.name}/kernel"] = each.to_keras(found[f"{each.name}_kernel"])
            arrays[f"{each.name}/bias"] = found[f"{each.name}_bias"]
    except KeyError as error:
        raise ModelLoadError(
            f"Expected an fp32 backbone with the weights {error}. Received initialisers: {sorted(found)}. "
            "Export the backbone again."
        ) from error
    return BackboneWeights(recipe, arrays)


def _convolution(convolution: Convolution, source: str, side: int) -> list["onnx.NodeProto"]:
    """Args: side, of the block's input; only the depthwise convolution and the stem have a stride."""
    from onnx import helper  # noqa: PLC0415

    name = convolution.name
    before, after = _same_padding(side, convolution.kernel_size, convolution.stride)
    nodes = [
        helper.make_node(
            "Conv",
            [source, f"{name}_kernel", f"{name}_bias"],
            [name],
            name,
            kernel_shape=[convolution.kernel_size] * 2,
            strides=[convolution.stride] * 2,
            pads=[before, before, after, after],
            group=convolution.channels_in if convolution.is_depthwise else 1,
        )
    ]
    if convolution.is_activated:
        limits = ["lowest_activation", "highest_activation"]
        nodes.append(helper.make_node("Clip", [name, *limits], [convolution.output], convolution.output))
    return nodes


def _same_padding(side: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """Return the padding in front and behind, as TensorFlow's "same" does it: the odd pixel goes behind."""
    padding = max((-(-side // stride) - 1) * stride + kernel_size - side, 0)
    return padding // 2, padding - padding // 2
