"""Measure what a backbone costs on this machine, before any photo is there."""

import time
from dataclasses import dataclass
from math import prod
from statistics import median

import numpy as np

from ml.backbones.base import Backbone
from ml.backbones.onnx_files import parse
from ml.backbones.onnx_runtime import OnnxBackbone

_RUNS = 7


@dataclass(frozen=True)
class BackboneCost:
    """What one image costs, in fp32.

    Args:
        parameters: number of weights.
        multiply_adds: multiplications with additions for one image.
        image_size: side of the square input, pixels.
        milliseconds: median time for one image with all CPUs.
    """

    parameters: int
    multiply_adds: int
    image_size: int
    milliseconds: float


def measure_cost(backbone: Backbone, image_size: int | None = None) -> BackboneCost:
    """Run a backbone with random weights a few times; the weights do not change the time.

    Args: image_size, pixels; the backbone's own when None.
    """
    size = image_size or backbone.default_image_size
    weights = backbone.resolve_weights("random")
    onnx = backbone.export_onnx(weights, size)
    network, image = OnnxBackbone(onnx), np.full((1, size, size, 3), 127, np.uint8)
    seconds = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        network.features(image)
        seconds.append(time.perf_counter() - began)
    parameters = sum(array.size for array in weights.arrays.values())
    return BackboneCost(parameters, _count_multiply_adds(onnx), size, 1000 * median(seconds[1:]))


def _count_multiply_adds(onnx: bytes) -> int:
    """Count those of the convolutions, which are all but a few."""
    from onnx import shape_inference  # noqa: PLC0415

    graph = shape_inference.infer_shapes(parse(onnx)).graph
    kernels = {each.name: tuple(each.dims) for each in graph.initializer}
    outputs = {each.name: [side.dim_value for side in each.type.tensor_type.shape.dim[1:]] for each in graph.value_info}
    return sum(
        prod(outputs[node.output[0]]) * prod(kernels[node.input[1]][1:])
        for node in graph.node
        if node.op_type == "Conv"
    )
