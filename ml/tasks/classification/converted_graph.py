"""Convert a classifier in ONNX to the form that Mycoflow serves: pixels in, probabilities and features out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.backbones.onnx_files import FEATURES_NAME, INPUT_NAME, parse, tensor
from ml.backbones.preprocessing import INPUT_CHANNELS
from ml.backbones.scales import Scale
from ml.errors import ModelLoadError
from ml.tasks.classification.head import Head
from ml.tasks.classification.onnx_head import PROBABILITIES_NAME, declare_activations, find_averaged

if TYPE_CHECKING:
    import onnx

MINIMUM_OPSET = 13  # from this version on, Softmax is over one axis
_PREFIX = "original/"
_PASS_THROUGH = ("Identity", "Dropout", "Cast")
_LEAST_PROBABILITY = 1e-30


@dataclass(frozen=True)
class ConvertedGraph:
    """A classifier in the form that Mycoflow serves.

    Args:
        onnx: input `images`, uint8 (n, size, size, 3); outputs `probabilities` and `features`, and `activations` if
            the network averages them to the features.
        head: the dense layer from the features to the probabilities.
        has_features: the features are the input of the last dense layer. If False, there is no such layer, and the
            class scores are used as features.
    """

    onnx: bytes
    head: Head
    has_features: bool


def convert_graph(original: bytes, image_size: int, scale: Scale, gives_probabilities: bool) -> ConvertedGraph:
    """Add the scaling of the pixels before a network, and the served outputs after it.

    Args:
        original: ONNX file; its network takes one image and returns one value per class.
        image_size: side of the square input, pixels.
        scale: scale of the network's input pixels.
        gives_probabilities: the outputs add up to 1; if False, a softmax is added.
    Raises: ModelLoadError, the file does not have that form.
    """
    from onnx import TensorProto, checker, compose, helper  # noqa: PLC0415

    model = compose.add_prefix(_with_opset(parse(original)), _PREFIX)
    graph = model.graph
    scaling_nodes, scaling_arrays = _scale_pixels(_real_inputs(graph)[0], scale)
    ending = _Ending.of(graph, gives_probabilities)
    output_nodes, output_arrays = ending.outputs()
    for node in reversed(scaling_nodes):
        graph.node.insert(0, node)
    graph.node.extend(output_nodes)
    graph.initializer.extend([*scaling_arrays, *output_arrays])
    del graph.input[:], graph.output[:]
    shape: list[str | int | None] = ["batch", image_size, image_size, INPUT_CHANNELS]
    graph.input.append(helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, shape))
    head = ending.head
    for name, size in ((PROBABILITIES_NAME, head.bias.shape[0]), (FEATURES_NAME, head.feature_count)):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]))
    del graph.value_info[:]  # it describes the old sizes and names
    if _averages_float32(model):
        declare_activations(graph)
    try:
        checker.check_model(model)
    except checker.ValidationError as error:
        raise ModelLoadError(f"Expected a network that is still valid after conversion. Received: {error}.") from error
    return ConvertedGraph(model.SerializeToString(), head, ending.has_features)


def _averages_float32(model: "onnx.ModelProto") -> bool:
    """Return whether the features are an average of float32 values. Other types would not fit the declared output."""
    from onnx import TensorProto, shape_inference  # noqa: PLC0415

    averaged = find_averaged(model.graph)
    described = shape_inference.infer_shapes(model).graph.value_info
    return any(each.name == averaged and each.type.tensor_type.elem_type == TensorProto.FLOAT for each in described)


def _with_opset(model: "onnx.ModelProto") -> "onnx.ModelProto":
    from onnx import version_converter  # noqa: PLC0415

    version = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)
    if version >= MINIMUM_OPSET:
        return model
    try:
        return version_converter.convert_version(model, MINIMUM_OPSET)
    except Exception as error:  # the converter's errors have no common base class
        raise ModelLoadError(
            f"Expected ONNX of opset {MINIMUM_OPSET} or later. Received: {version}. Its conversion fails: {error}. "
            "Export the model again."
        ) from error


def _real_inputs(graph: "onnx.GraphProto") -> list["onnx.ValueInfoProto"]:
    """Return the inputs without the weights, which older files list as inputs too."""
    weights = {each.name for each in graph.initializer}
    return [each for each in graph.input if each.name not in weights]


def _scale_pixels(
    network_input: "onnx.ValueInfoProto", scale: Scale
) -> tuple[list["onnx.NodeProto"], list["onnx.TensorProto"]]:
    """Return the nodes, and their constants, that turn the uint8 `images` into the network's input."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["pixels"], "cast_pixels", to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "pixel_mean"], ["centred"], "subtract_mean"),
        helper.make_node("Mul", ["centred", "pixel_scale"], ["scaled"], "scale_pixels"),
    ]
    arrays = [
        tensor("pixel_mean", np.array(scale.scaling.mean, np.float32)),
        tensor("pixel_scale", np.array(scale.scaling.scale, np.float32)),
    ]
    value = "scaled"
    if scale.is_bgr:
        nodes.append(helper.make_node("Gather", [value, "bgr"], ["bgr_pixels"], "to_bgr", axis=3))
        arrays.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), "bgr"))
        value = "bgr_pixels"
    dimensions = network_input.type.tensor_type.shape.dim
    if dimensions[1].dim_value == INPUT_CHANNELS and dimensions[3].dim_value != INPUT_CHANNELS:
        nodes.append(helper.make_node("Transpose", [value], ["laid_out"], "to_channels_first", perm=[0, 3, 1, 2]))
        value = "laid_out"
    element_type = network_input.type.tensor_type.elem_type
    nodes.append(helper.make_node("Cast", [value], [network_input.name], "cast", to=element_type))
    return nodes, arrays


@dataclass(frozen=True)
class _Ending:
    """The last part of a classifier's graph.

    Args:
        source: name of the head's input value.
        head: the dense layer from that value to logits.
        has_features: the head is the network's last dense layer; if False, it is an identity.
        probabilities: name of the value with the probabilities; None if a softmax over `logits` must be added.
        logits: name of the value with the logits; None if the network has only probabilities.
    """

    source: str
    head: Head
    has_features: bool
    probabilities: str | None
    logits: str | None

    @classmethod
    def of(cls, graph: "onnx.GraphProto", gives_probabilities: bool) -> "_Ending":
        producers = {name: node for node in graph.node for name in node.output}
        output = graph.output[0].name
        last = producers.get(_skip_passing(producers, output))
        if gives_probabilities and last is not None and last.op_type == "Softmax":
            logits: str | None = last.input[0]
        else:
            logits = None if gives_probabilities else output
        probabilities = output if gives_probabilities else None
        dense = None if logits is None else _read_dense(graph, producers, _skip_passing(producers, logits))
        if dense is not None:
            return cls(*dense, True, probabilities, logits)
        count = graph.output[0].type.tensor_type.shape.dim[1].dim_value
        identity = Head(np.eye(count, dtype=np.float32), np.zeros(count, np.float32))
        return cls(logits or "log_probabilities", identity, False, probabilities, logits)

    def outputs(self) -> tuple[list["onnx.NodeProto"], list["onnx.TensorProto"]]:
        """Return the nodes, and their constants, that compute `probabilities` and `features` in float32."""
        from onnx import TensorProto, helper  # noqa: PLC0415

        nodes, arrays = [], []
        if self.probabilities is None:
            nodes.append(helper.make_node("Cast", [self.logits or ""], ["logits"], "cast_logits", to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Softmax", ["logits"], [PROBABILITIES_NAME], "softmax", axis=1))
        else:
            nodes.append(
                helper.make_node(
                    "Cast", [self.probabilities], [PROBABILITIES_NAME], "name_probabilities", to=TensorProto.FLOAT
                )
            )
        if self.logits is None:
            arrays.append(tensor("least_probability", np.array(_LEAST_PROBABILITY, np.float32)))
            nodes.append(
                helper.make_node("Max", [PROBABILITIES_NAME, "least_probability"], ["positive"], "keep_positive")
            )
            nodes.append(helper.make_node("Log", ["positive"], ["log_probabilities"], "logarithm"))
        nodes.append(helper.make_node("Cast", [self.source], [FEATURES_NAME], "name_features", to=TensorProto.FLOAT))
        return nodes, arrays


def _skip_passing(producers: Mapping[str, "onnx.NodeProto"], name: str) -> str:
    """Return the name of the value before the nodes that pass it through unchanged."""
    while name in producers and producers[name].op_type in _PASS_THROUGH:
        name = producers[name].input[0]
    return name


def _read_dense(
    graph: "onnx.GraphProto", producers: Mapping[str, "onnx.NodeProto"], output: str
) -> tuple[str, Head] | None:
    """Return the input and the weights of the dense layer that computes a value. Return None for other layers."""
    from onnx import numpy_helper  # noqa: PLC0415

    weights = {each.name: each for each in graph.initializer}

    def read(name: str) -> NDArray[np.float32] | None:
        name = _skip_passing(producers, name)
        return numpy_helper.to_array(weights[name]).astype(np.float32) if name in weights else None

    node, bias = producers.get(output), None
    if node is not None and node.op_type == "Add":
        sides = [(node.input[0], read(node.input[1])), (node.input[1], read(node.input[0]))]
        found = [(value, array) for value, array in sides if array is not None]
        if not found:
            return None
        value, bias = found[0]
        node = producers.get(_skip_passing(producers, value))
    if node is None or node.op_type not in ("MatMul", "Gemm") or (node.op_type == "Gemm" and bias is not None):
        return None
    kernel = read(node.input[1])
    if kernel is None or kernel.ndim != 2:
        return None
    if node.op_type == "Gemm":
        options = {each.name: each.f if each.type == each.FLOAT else each.i for each in node.attribute}
        if options.get("alpha", 1.0) != 1.0 or options.get("beta", 1.0) != 1.0 or options.get("transA", 0):
            return None
        kernel = kernel.T if options.get("transB", 0) else kernel
        bias = read(node.input[2]) if len(node.input) > 2 else None
        if len(node.input) > 2 and bias is None:
            return None
    flat = (
        np.zeros(kernel.shape[1], np.float32) if bias is None else np.broadcast_to(bias.reshape(-1), kernel.shape[1:])
    )
    return node.input[0], Head(np.ascontiguousarray(kernel), np.ascontiguousarray(flat))
