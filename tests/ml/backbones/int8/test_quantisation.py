from typing import Any

import numpy as np
import onnx
import pytest

from ml.backbones.int8.quantisation import quantise_backbone
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.served_backbone import ServedBackbone
from ml.backbones.vgg16.vgg16_backbone import BACKBONE
from ml.tasks.classification.head import Head
from ml.tasks.classification.onnx_head import join_head


@pytest.fixture(scope="module")
def int8_onnx(int8_backbone: ServedBackbone) -> bytes:
    return int8_backbone.onnx


def weights_of(content: bytes) -> dict[str, np.ndarray]:
    graph = onnx.load_model_from_string(content).graph
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_every_kernel_becomes_int8_with_a_scale_for_each_channel(int8_onnx: bytes) -> None:
    weights = weights_of(int8_onnx)
    kernels = {name: each for name, each in weights.items() if name.endswith("kernel_quantized")}
    assert len(kernels) == 13
    assert all(kernel.dtype == np.int8 for kernel in kernels.values())
    assert weights["block5_conv3_kernel_scale"].shape == (512,)


def test_the_file_shrinks_to_a_quarter(int8_onnx: bytes, backbone_onnx: bytes) -> None:
    assert len(int8_onnx) < 0.27 * len(backbone_onnx)


def test_nodes_after_the_last_convolution_stay_fp32(int8_onnx: bytes) -> None:
    graph = onnx.load_model_from_string(int8_onnx).graph
    after_pool = [node.op_type for node in graph.node][-3:]
    assert after_pool == ["MaxPool", "GlobalAveragePool", "Flatten"]


def test_the_features_stay_close_to_those_of_fp32(int8_onnx: bytes, unseen: Any) -> None:
    features = OnnxBackbone(int8_onnx).features(unseen.images)
    assert np.corrcoef(features.ravel(), unseen.features.ravel())[0, 1] > 0.99


def test_the_same_images_give_the_same_bytes(int8_onnx: bytes, backbone_onnx: bytes, training_fold: Any) -> None:
    assert (
        quantise_backbone(backbone_onnx, training_fold.images[:16], BACKBONE.kept_in_fp32, reduce_range=False)
        == int8_onnx
    )


def test_a_reduced_range_uses_seven_bits(backbone_onnx: bytes, training_fold: Any) -> None:
    weights = weights_of(
        quantise_backbone(backbone_onnx, training_fold.images[:2], BACKBONE.kept_in_fp32, reduce_range=True)
    )
    kernels = [each for name, each in weights.items() if name.endswith("kernel_quantized")]
    assert max(int(np.abs(kernel.astype(int)).max()) for kernel in kernels) == 64


def test_progress_counts_the_calibration_images(backbone_onnx: bytes, training_fold: Any) -> None:
    told: list[tuple[int, int]] = []
    images, kept = training_fold.images[:3], BACKBONE.kept_in_fp32
    quantise_backbone(backbone_onnx, images, kept, False, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_head_in_fp32_joins_an_int8_backbone(int8_onnx: bytes) -> None:
    joined = weights_of(join_head(int8_onnx, Head(np.eye(512, 3, dtype=np.float32), np.zeros(3, np.float32))))
    assert joined["head_kernel"].dtype == np.float32
