"""Add the head to a backbone in ONNX."""

from ml.backbones.onnx_files import FEATURES_NAME, parse, serialise, tensor
from ml.tasks.classification.head import Head

PROBABILITIES_NAME = "probabilities"


def join_head(backbone_onnx: bytes, head: Head) -> bytes:
    """Add a head to a backbone. The head is fp32, even if the backbone is int8.

    Args:
        backbone_onnx: ONNX from a backbone's `export_onnx` or from `quantise_backbone`.
        head: the dense layer, kernel (features, classes) and bias (classes,).
    Returns: ONNX with the backbone's input and the outputs `probabilities`, float32 (batch, classes), and `features`.
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
    return serialise(graph)
