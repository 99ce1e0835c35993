"""ONNX files: the names of their inputs and outputs, and how they are read and written."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelLoadError

if TYPE_CHECKING:
    import onnx

OPSET_VERSION = 17
IR_VERSION = 8
INPUT_NAME = "images"
FEATURES_NAME = "features"


def tensor(name: str, array: NDArray[np.float32]) -> "onnx.TensorProto":
    from onnx import numpy_helper  # noqa: PLC0415

    return numpy_helper.from_array(np.ascontiguousarray(array, dtype=np.float32), name)


def parse(content: bytes) -> "onnx.ModelProto":
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # noqa: PLC0415
    from onnx import load_model_from_string  # noqa: PLC0415

    try:
        return load_model_from_string(content)
    except DecodeError as error:
        raise ModelLoadError(
            f"Expected an ONNX file. Received {len(content)} bytes that are not one ({error}). Export the trunk again."
        ) from error


def serialise(graph: "onnx.GraphProto") -> bytes:
    from onnx import checker, helper  # noqa: PLC0415

    opset = helper.make_operatorsetid("", OPSET_VERSION)
    model = helper.make_model(graph, producer_name="mycoflow", opset_imports=[opset], ir_version=IR_VERSION)
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
