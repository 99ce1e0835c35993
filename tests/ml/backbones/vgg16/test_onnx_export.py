import hashlib
from collections.abc import Callable

import numpy as np
import onnx
import pytest

from ml.backbones.base import BackboneWeights
from ml.backbones.keras_backend import build_network, load_keras, set_weights
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.vgg16.onnx_export import export_backbone, read_backbone
from ml.backbones.vgg16.vgg16_backbone import BACKBONE
from ml.errors import ModelLoadError
from ml.tasks.classification.head import Head
from ml.tasks.classification.onnx_head import join_head

EXPORT = """
import hashlib
from ml.backbones.vgg16.onnx_export import export_backbone
from ml.backbones.vgg16.weights import resolve_weights
print(hashlib.sha256(export_backbone(resolve_weights("random"), 32)).hexdigest())
"""


def random_images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_the_same_weights_give_the_same_bytes_in_another_process(
    backbone_onnx: bytes, run_python: Callable[..., str]
) -> None:
    assert run_python(EXPORT) == hashlib.sha256(backbone_onnx).hexdigest()


@pytest.mark.parametrize("size", [32, 47])
def test_the_exported_backbone_computes_what_the_keras_backbone_computes(weights: BackboneWeights, size: int) -> None:
    images = random_images(4, size)
    expected = build_network(BACKBONE, weights, size).predict(images, verbose=0)
    received = OnnxBackbone(export_backbone(weights, size)).features(images)
    assert received.shape == (4, 512)
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4 * expected.std())


def test_it_is_the_network_that_keras_publishes(weights: BackboneWeights) -> None:
    published = load_keras().applications.VGG16(include_top=False, weights=None, input_shape=(47, 47, 3), pooling="avg")
    set_weights(published, weights)
    images = random_images(4, 47)
    expected = published.predict(images - np.array([123.68, 116.779, 103.939], np.float32), verbose=0)
    received = build_network(BACKBONE, weights, 47).predict(images, verbose=0)
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5 * expected.std())


def test_the_network_tells_red_from_blue(backbone_onnx: bytes) -> None:
    image = random_images(1, 32)
    backbone = OnnxBackbone(backbone_onnx)
    assert not np.allclose(backbone.features(image), backbone.features(image[..., ::-1].copy()), rtol=0.01)


def test_a_joined_model_holds_the_weights_once_and_keeps_the_backbones_features(backbone_onnx: bytes) -> None:
    joined = join_head(backbone_onnx, Head(np.zeros((512, 3), np.float32), np.zeros(3, np.float32)))
    assert len(joined) < len(backbone_onnx) + 20_000
    outputs = {output.name: output for output in onnx.load_model_from_string(joined).graph.output}
    assert list(outputs) == ["probabilities", "features", "activations"]
    assert outputs["probabilities"].type.tensor_type.shape.dim[1].dim_value == 3


def test_weights_are_read_back_from_a_backbone_bit_for_bit(backbone_onnx: bytes, weights: BackboneWeights) -> None:
    found = read_backbone(backbone_onnx, "random:0")
    assert found.arrays.keys() == weights.arrays.keys()
    assert all(np.array_equal(found.arrays[name], array) for name, array in weights.arrays.items())
    assert export_backbone(found, 32) == backbone_onnx


@pytest.mark.parametrize("content", [b"no onnx file", b""])
def test_bytes_that_are_no_backbone_are_refused(content: bytes) -> None:
    with pytest.raises(ModelLoadError, match="Export the backbone again"):
        read_backbone(content, "random:0")
