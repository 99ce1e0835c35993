"""EfficientNet-Lite0 as ONNX and in Keras."""

import hashlib
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from ml.backbones.base import BackboneWeights
from ml.backbones.efficientnet_lite.efficientnet_lite_backbone import BACKBONE
from ml.backbones.efficientnet_lite.lite_onnx import export_backbone, read_backbone
from ml.backbones.efficientnet_lite.lite_weights import PACKAGE, PACKAGE_FILE, resolve_weights
from ml.backbones.efficientnet_lite.torch_file import read_tensors
from ml.backbones.keras_backend import build_network, load_keras, set_weights
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.errors import ModelLoadError
from ml.tasks.classification.unfreezing.activations import SCALE, cut_backbone

EXPORT = """
import hashlib, sys
from ml.backbones.efficientnet_lite.lite_onnx import export_backbone
from ml.backbones.efficientnet_lite.lite_weights import resolve_weights
print(hashlib.sha256(export_backbone(resolve_weights("random"), 40)).hexdigest(), "tensorflow" in sys.modules)
"""
DAISY = 985  # of ImageNet's classes


@pytest.fixture(scope="module")
def imagenet() -> BackboneWeights:
    return resolve_weights("imagenet")


def random_images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_with_the_published_classifier_it_names_a_flower_a_daisy(imagenet: BackboneWeights) -> None:
    tensors = read_tensors(Path(str(distribution(PACKAGE).locate_file(PACKAGE_FILE))))
    image = np.asarray(Image.fromarray(load_sample_image("flower.jpg")).resize((224, 224)))
    features = OnnxBackbone(export_backbone(imagenet, 224)).features(image[np.newaxis])
    assert np.argmax(features @ tensors["_fc.weight"].T + tensors["_fc.bias"]) == DAISY


def test_the_same_weights_give_the_same_bytes_in_another_process_without_tensorflow(
    run_python: Callable[..., str],
) -> None:
    here = hashlib.sha256(export_backbone(resolve_weights("random"), 40)).hexdigest()
    assert run_python(EXPORT) == f"{here} False"


@pytest.mark.parametrize("size", [32, 47, 160])
def test_onnx_and_keras_compute_the_same_features(imagenet: BackboneWeights, size: int) -> None:
    images = random_images(3, size)
    expected = build_network(BACKBONE, imagenet, size).predict(images, verbose=0)
    received = OnnxBackbone(export_backbone(imagenet, size)).features(images)
    assert received.shape == (3, 1280)
    np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-4 * expected.std())


def test_every_cut_gives_the_rest_of_the_network_what_it_needs(imagenet: BackboneWeights) -> None:
    size, keras = 47, load_keras()
    onnx, images = export_backbone(imagenet, size), random_images(2, size)
    expected = OnnxBackbone(onnx).features(images)
    cuts = BACKBONE.cut_points(size)
    assert [cut.layer for cut in cuts][:4] == [0, 1, 3, 6]
    assert BACKBONE.tunable_layers[cuts[-1].layer] == "top_conv"
    for cut in (cuts[0], cuts[1], cuts[4], cuts[-2], cuts[-1]):
        given = keras.Input(cut.shape)
        rest = keras.Model(given, BACKBONE.build_layers(given, cut.layer))
        set_weights(rest, imagenet)
        activations = run(cut_backbone(onnx, cut), images)
        assert activations.shape[1:] == cut.shape
        received = rest.predict(activations.astype(np.float32) / SCALE, verbose=0)
        np.testing.assert_allclose(received, expected, rtol=0.05, atol=0.05 * expected.std())


def run(onnx: bytes, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    (found,) = onnxruntime.InferenceSession(onnx).run(None, {"images": images})
    return np.asarray(found)


def test_random_activations_neither_vanish_nor_saturate() -> None:
    features = OnnxBackbone(export_backbone(resolve_weights("random"), 96)).features(random_images(4, 96))
    assert 0.1 < features.std() < 3
    assert (features == 0).mean() < 0.2


def test_weights_are_read_back_bit_for_bit(imagenet: BackboneWeights) -> None:
    onnx = export_backbone(imagenet, 32)
    found = read_backbone(onnx, "imagenet:1")
    assert found.recipe == "imagenet:1"
    assert found.arrays.keys() == imagenet.arrays.keys()
    assert all(np.array_equal(found.arrays[name], array) for name, array in imagenet.arrays.items())
    assert export_backbone(found, 32) == onnx


@pytest.mark.parametrize("content", [b"no onnx file", b""])
def test_bytes_that_are_no_backbone_are_refused(content: bytes) -> None:
    with pytest.raises(ModelLoadError, match="Export the backbone again"):
        read_backbone(content, "random:0")
