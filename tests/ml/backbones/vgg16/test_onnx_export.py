import hashlib
from collections.abc import Callable

import numpy as np
import onnx
import pytest

from ml.backbones.onnx_runtime import Trunk
from ml.backbones.vgg16.keras_vgg16 import build_trunk
from ml.backbones.vgg16.onnx_export import export_trunk, read_trunk
from ml.backbones.vgg16.weights import TrunkWeights
from ml.errors import ModelLoadError
from ml.tasks.classification.head import Head
from ml.tasks.classification.onnx_head import join_head

EXPORT = """
import hashlib
from ml.backbones.vgg16.onnx_export import export_trunk
from ml.backbones.vgg16.weights import resolve_weights
print(hashlib.sha256(export_trunk(resolve_weights("random"), 32)).hexdigest())
"""


def random_images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_the_same_weights_give_the_same_bytes_in_another_process(
    trunk_onnx: bytes, run_python: Callable[..., str]
) -> None:
    assert run_python(EXPORT) == hashlib.sha256(trunk_onnx).hexdigest()


@pytest.mark.parametrize("size", [32, 47])
def test_the_exported_trunk_computes_what_the_keras_trunk_computes(weights: TrunkWeights, size: int) -> None:
    images = random_images(4, size)
    expected = build_trunk(weights, size).predict(images, verbose=0)
    received = Trunk(export_trunk(weights, size)).features(images)
    assert received.shape == (4, 512)
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4 * expected.std())


def test_the_network_tells_red_from_blue(trunk_onnx: bytes) -> None:
    image = random_images(1, 32)
    trunk = Trunk(trunk_onnx)
    assert not np.allclose(trunk.features(image), trunk.features(image[..., ::-1].copy()), rtol=0.01)


def test_a_joined_model_holds_the_weights_once_and_keeps_the_trunks_features(trunk_onnx: bytes) -> None:
    joined = join_head(trunk_onnx, Head(np.zeros((512, 3), np.float32), np.zeros(3, np.float32)))
    assert len(joined) < len(trunk_onnx) + 20_000
    outputs = {output.name: output for output in onnx.load_model_from_string(joined).graph.output}
    assert list(outputs) == ["probabilities", "features"]
    assert outputs["probabilities"].type.tensor_type.shape.dim[1].dim_value == 3


def test_weights_are_read_back_from_a_trunk_bit_for_bit(trunk_onnx: bytes, weights: TrunkWeights) -> None:
    found = read_trunk(trunk_onnx, "random:0")
    assert all(np.array_equal(a, b) for a, b in zip(found.kernels, weights.kernels, strict=True))
    assert export_trunk(found, 32) == trunk_onnx


@pytest.mark.parametrize("content", [b"no onnx file", b""])
def test_bytes_that_are_no_trunk_are_refused(content: bytes) -> None:
    with pytest.raises(ModelLoadError, match="Export the trunk again"):
        read_trunk(content, "random:0")
