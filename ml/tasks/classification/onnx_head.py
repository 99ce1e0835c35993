"""Add the head to a backbone in ONNX, and declare the values from which class activation maps are computed."""

from typing import TYPE_CHECKING

from ml.backbones.onnx_files import ACTIVATIONS_NAME, FEATURES_NAME, parse, serialise, tensor
from ml.tasks.classification.head import Head

if TYPE_CHECKING:
    import onnx

PROBABILITIES_NAME = "probabilities"
# These nodes change the shape of the averages, and not their order.
_RESHAPING = ("Flatten", "Reshape", "Squeeze", "Identity", "Dropout", "Cast")


def join_head(backbone_onnx: bytes, head: Head) -> bytes:
    """Add a head to a backbone. The head is fp32, even if the backbone is int8.

    Args:
        backbone_onnx: ONNX from a backbone's `export_onnx` or from `quantise_backbone`.
        head: the dense layer, kernel (features, classes) and bias (classes,).
    Returns: ONNX with the backbone's input and the outputs `probabilities`, float32 (batch, classes), and `features`;
        also `activations`, as `declare_activations` says.
    Raises: ModelLoadError, the bytes are not a backbone.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415

    graph = parse(backbone_onnx).graph
    graph.node.extend(
        [
            helper.make_node("Gemm", [FEATURES_NAME, "head_kernel", "head_bias"], ["logits"], "head"),
            helper.make_node("Softmax", ["logits"], [PROBABILITIES_NAME], "softmax", axis=1),
        ]
    )
    graph.initializer.extend([tensor("head_kernel", head.kernel), tensor("head_bias", head.bias)])
    shape = ["batch", head.bias.shape[0]]
    graph.output.insert(0, helper.make_tensor_value_info(PROBABILITIES_NAME, TensorProto.FLOAT, shape))
    graph.name = "classifier"
    declare_activations(graph)
    return serialise(graph)


def declare_activations(graph: "onnx.GraphProto") -> None:
    """Declare the values that are averaged over the image to the features as the output `activations`.

    They are float32 (batch, features, rows, columns). No node is added: the graph computes them anyway. A graph whose
    features are no such average stays as it is.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415

    averaged = find_averaged(graph)
    if averaged is None:
        return
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [ACTIVATIONS_NAME if name == averaged else name for name in names]
    described = [each for each in graph.value_info if each.name not in (averaged, ACTIVATIONS_NAME)]
    del graph.value_info[:]
    graph.value_info.extend(described)
    shape = ["batch", None, None, None]
    graph.output.append(helper.make_tensor_value_info(ACTIVATIONS_NAME, TensorProto.FLOAT, shape))


def find_averaged(graph: "onnx.GraphProto") -> str | None:
    """Return the name of the value whose average over the image is the features; None if they are no such average."""
    producers = {name: node for node in graph.node for name in node.output}
    node = producers.get(FEATURES_NAME)
    while node is not None and node.op_type in _RESHAPING:
        node = producers.get(node.input[0])
    return node.input[0] if node is not None and node.op_type == "GlobalAveragePool" else None
