"""Create a very small but real model bundle, and images for it."""

import io
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from ml.backbones.preprocessing import PREPROCESSING_VERSION

CLASSES = ["amanita", "boletus", "cantharellus", "russula"]
IMAGE_SIZE = 32


def _onnx_model(projection: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """Build the served interface in a few kilobytes: uint8 pixels -> mean colours -> 512 features -> probabilities."""
    projection = projection.T[:, :, np.newaxis, np.newaxis]
    weights = [("projection", projection), ("kernel", kernel), ("bias", bias), ("scale", np.float32(1 / 255))]
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["channels_first"], ["colours"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Conv", ["colours", "projection"], ["activations"]),
        helper.make_node("GlobalAveragePool", ["activations"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("MatMul", ["features", "kernel"], ["weighted"]),
        helper.make_node("Add", ["weighted", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", IMAGE_SIZE, IMAGE_SIZE, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", bias.size]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 512]),
            helper.make_tensor_value_info("activations", TensorProto.FLOAT, ["batch", None, None, None]),
        ],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def write_tiny_bundle(folder: Path, seed: int) -> Path:
    """Write a bundle. All bundles have the same backbone; each seed has its own head."""
    kernel = np.random.default_rng(seed).normal(size=(512, len(CLASSES))).astype(np.float32) / 8
    return write_headed_bundle(folder, kernel, np.zeros(len(CLASSES), np.float32))


def write_headed_bundle(folder: Path, kernel: np.ndarray, bias: np.ndarray, **facts: object) -> Path:
    """Write a bundle with a head, float32 (512, 4) and (4,), and with further facts in its card."""
    folder.mkdir(parents=True)
    projection = np.random.default_rng(0).normal(size=(3, 512)).astype(np.float32)
    onnx.save(_onnx_model(projection, kernel, bias), str(folder / "model.onnx"))
    np.savez(folder / "head.npz", kernel=kernel, bias=bias)
    card = {
        "classes": CLASSES,
        "image_size": IMAGE_SIZE,
        "preprocessing": PREPROCESSING_VERSION,
        "precision": "fp32",
        "backbone_weights": "random:0",
        "backbone_id": f"{'0' * 64}:{PREPROCESSING_VERSION}",
        **facts,
    }
    (folder / "model.json").write_text(json.dumps(card))
    return folder


def noise_png(seed: int) -> bytes:
    """Return an image file. Different seeds give different images."""
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
