"""ONNX files of backbones: the names of inputs and outputs, reading and writing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.backbones.base import PixelScaling
from ml.backbones.preprocessing import INPUT_CHANNELS
from ml.errors import ModelLoadError

if TYPE_CHECKING:
    import onnx

OPSET_VERSION = 17
IR_VERSION = 8
INPUT_NAME = "images"
FEATURES_NAME = "features"
ACTIVATIONS_NAME = "activations"  # what is averaged to the features; an output of some files, and no part of an answer
CHANNELS_FIRST_NAME = "channels_first"  # the scaled pixels
SCALE_NODE = "scale_pixels"


def tensor(name: str, array: NDArray[np.float32]) -> "onnx.TensorProto":
    from onnx import numpy_helper  # noqa: PLC0415

    return numpy_helper.from_array(np.ascontiguousarray(array, dtype=np.float32), name)


def scale_pixels(scaling: PixelScaling) -> tuple[list["onnx.NodeProto"], list["onnx.TensorProto"]]:
    """Return the first nodes of every backbone: they turn uint8 `images` into scaled float32 `channels_first`."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["pixels"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "pixel_mean"], ["centred"], "subtract_mean"),
        helper.make_node("Mul", ["centred", "pixel_scale"], ["scaled_pixels"], SCALE_NODE),
        helper.make_node("Transpose", ["scaled_pixels"], [CHANNELS_FIRST_NAME], "to_channels_first", perm=[0, 3, 1, 2]),
    ]
    arrays = {"pixel_mean": scaling.mean, "pixel_scale": scaling.scale}
    return nodes, [tensor(name, np.array(values, np.float32)) for name, values in arrays.items()]


def make_backbone(
    nodes: Sequence["onnx.NodeProto"],
    initializers: Sequence["onnx.TensorProto"],
    name: str,
    image_size: int,
    feature_count: int,
) -> bytes:
    """Write a backbone's nodes as an ONNX file with the input and the output that all backbones have in common."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    shape: list[str | int | None] = ["batch", image_size, image_size, INPUT_CHANNELS]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(FEATURES_NAME, TensorProto.FLOAT, ["batch", feature_count])],
        initializers,
    )
    return serialise(graph)


def parse(content: bytes) -> "onnx.ModelProto":
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # noqa: PLC0415
    from onnx import load_model_from_string  # noqa: PLC0415

    try:
        return load_model_from_string(content)
    except DecodeError as error:
        raise ModelLoadError(
            f"Expected an ONNX file. Received {len(content)} bytes that are no ONNX file ({error}). "
            "Export the backbone again."
        ) from error


def serialise(graph: "onnx.GraphProto") -> bytes:
    from onnx import checker, helper  # noqa: PLC0415

    opset = helper.make_operatorsetid("", OPSET_VERSION)
    model = helper.make_model(graph, producer_name="mycoflow", opset_imports=[opset], ir_version=IR_VERSION)
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
