"""Class activation maps: exact for every backbone and precision, at no cost, and absent where a network has none."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ml.backbones.int8.quantisation import quantise_backbone
from ml.backbones.onnx_files import parse
from ml.backbones.registered import find_backbone
from ml.backbones.scales import SCALES
from ml.errors import NoActivationMapError
from ml.tasks.classification.classifier import Classifier
from ml.tasks.classification.converted_graph import convert_graph
from ml.tasks.classification.head import Head, save_head
from ml.tasks.classification.onnx_head import join_head
from ml.tasks.task import LocatingModel, demand_locating
from tests.tiny_model import write_tiny_bundle

SIZE = 64
CLASSES = ("amanita", "boletus", "russula")
# Sums of float32 in another order. int8 is as exact: the map is made from the very values that the network averages.
TOLERANCE = 1e-3


def pictures(count: int) -> NDArray[np.uint8]:
    """Smooth pictures: four colours, blended."""
    corners = np.random.default_rng(5).uniform(0, 255, (count, 2, 2, 3))
    ramp = np.linspace(0, 1, SIZE)[:, np.newaxis]
    rows = corners[:, :1] * (1 - ramp[..., np.newaxis]) + corners[:, 1:] * ramp[..., np.newaxis]
    return np.rint(rows[:, :, :1] * (1 - ramp) + rows[:, :, 1:] * ramp).astype(np.uint8)


def write_classifier(folder: Path, model: bytes, head: Head, size: int = SIZE) -> Classifier:
    """Make a bundle around a network, and load it."""
    write_tiny_bundle(folder, 1)
    card = (folder / "model.json").read_text()
    card = card.replace('"image_size": 32', f'"image_size": {size}').replace(', "cantharellus"', "")
    (folder / "model.json").write_text(card)
    (folder / "model.onnx").write_bytes(model)
    save_head(head, folder / "head.npz")
    return Classifier.load(folder)


def new_head(feature_count: int) -> Head:
    random = np.random.default_rng(3)
    kernel = random.normal(size=(feature_count, len(CLASSES))) / np.sqrt(feature_count)
    return Head(kernel.astype(np.float32), np.array([0.5, -1, 0.1], np.float32))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(("name", "weights"), [("efficientnet_lite0", "imagenet"), ("vgg16", "random")])
def test_the_mean_of_a_map_and_the_bias_are_the_logit(tmp_path: Path, name: str, weights: str, precision: str) -> None:
    backbone, images = find_backbone(name), pictures(4)
    network = backbone.export_onnx(backbone.resolve_weights(weights), SIZE)
    if precision == "int8":
        network = quantise_backbone(network, images, backbone.kept_in_fp32, reduce_range=False)
    head = new_head(backbone.feature_count)
    joined = join_head(network, head)
    classifier = write_classifier(tmp_path / "1-run", joined, head)

    output = classifier.predict(images)
    maps = np.array([[classifier.locate(image, each) for each in CLASSES] for image in images])
    assert maps.shape == (4, 3, 2, 2)
    logits = output.features @ head.kernel + head.bias
    np.testing.assert_allclose(maps.mean(axis=(2, 3)) + head.bias, logits, atol=TOLERANCE)
    assert np.abs(maps - maps.mean(axis=(2, 3), keepdims=True)).max() > 100 * TOLERANCE  # regions differ
    exponentials = np.exp(maps.mean(axis=(2, 3)) + head.bias)
    shares = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, output.probabilities, atol=TOLERANCE)

    nodes = parse(network).graph.node
    assert len(parse(joined).graph.node) == len(nodes) + 2  # the head, and nothing for the map
    plain = without_activations(joined)
    as_before = write_classifier(tmp_path / "2-run", plain, head)
    np.testing.assert_array_equal(as_before.predict(images).features, output.features)
    np.testing.assert_array_equal(as_before.predict(images).probabilities, output.probabilities)
    with pytest.raises(NoActivationMapError, match="This version has none"):
        as_before.locate(images[0], CLASSES[0])


def test_a_network_that_sees_an_image_as_one_region_draws_no_map(tmp_path: Path) -> None:
    backbone = find_backbone("vgg16")
    network = backbone.export_onnx(backbone.resolve_weights("random"), 32)
    head = new_head(backbone.feature_count)
    classifier = write_classifier(tmp_path / "1-run", join_head(network, head), head, 32)
    assert classifier.draws_maps is False
    with pytest.raises(NoActivationMapError, match=r"input of 32 pixels as one\. Retrain with a larger"):
        classifier.locate(np.zeros((32, 32, 3), np.uint8), CLASSES[0])


def without_activations(model: bytes) -> bytes:
    """The file as versions before this release have it."""
    parsed = onnx.load_model_from_string(model)
    (index,) = [index for index, each in enumerate(parsed.graph.output) if each.name == "activations"]
    del parsed.graph.output[index]
    return bytes(parsed.SerializeToString())


def test_the_region_with_the_object_stands_out(tmp_path: Path) -> None:
    classifier = Classifier.load(write_tiny_bundle(tmp_path / "1-run", 1))
    image = np.full((32, 32, 3), 100, np.uint8)
    base = classifier.locate(image, "boletus")
    np.testing.assert_allclose(base, base[0, 0], rtol=1e-4)
    image[8:16, 24:32] = (255, 0, 0)
    changed = np.abs(classifier.locate(image, "boletus") - base)
    assert np.unravel_index(changed.argmax(), changed.shape) == (1, 3)
    assert np.count_nonzero(changed > 1e-4) == 1


def test_an_image_of_another_shape_is_refused(tmp_path: Path) -> None:
    classifier = Classifier.load(write_tiny_bundle(tmp_path / "1-run", 1))
    with pytest.raises(ValueError, match="Expected uint8 images"):
        classifier.locate(np.zeros((32, 31, 3), np.uint8), "boletus")


def foreign(ending: Sequence[str], element_type: int = TensorProto.FLOAT) -> bytes:
    """Return a network that was trained elsewhere: a convolution, then the operations in `ending`."""
    dtype = helper.tensor_dtype_to_np_dtype(element_type)
    random = np.random.default_rng(2)
    steps: dict[str, Any] = {
        "pool": ("GlobalAveragePool", [], {}),
        "greatest": ("GlobalMaxPool", [], {}),
        "flatten": ("Flatten", [], {}),
        "dense": ("Gemm", [random.normal(size=(8, 3)).astype(dtype), np.ones(3, dtype)], {}),
        "to_classes": ("Conv", [random.normal(size=(3, 8, 1, 1)).astype(dtype)], {}),
        "large_dense": ("MatMul", [random.normal(size=(8 * 31 * 31, 3)).astype(dtype) / 100], {}),
    }
    nodes = [helper.make_node("Conv", ["x", "kernel"], ["seen"], kernel_shape=[3, 3], strides=[2, 2])]
    weights = [numpy_helper.from_array(random.normal(size=(8, 3, 3, 3)).astype(dtype), "kernel")]
    value = "seen"
    for step in ending:
        kind, arrays, options = steps[step]
        names = [f"{step}_{index}" for index in range(len(arrays))]
        weights += [numpy_helper.from_array(array, each) for array, each in zip(arrays, names, strict=True)]
        nodes.append(helper.make_node(kind, [value, *names], [step], **options))
        value = step
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", element_type, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(value, element_type, ["n", 3])],
        weights,
    )
    opset = helper.make_opsetid("", 17)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


@pytest.mark.parametrize(
    ("ending", "element_type", "has_map"),
    [
        (["pool", "flatten", "dense"], TensorProto.FLOAT, True),
        (["to_classes", "pool", "flatten"], TensorProto.FLOAT, True),  # a network of convolutions alone
        (["pool", "flatten", "dense"], TensorProto.FLOAT16, False),
        (["greatest", "flatten", "dense"], TensorProto.FLOAT, False),
        (["flatten", "large_dense"], TensorProto.FLOAT, False),
    ],
    ids=["average", "convolutions", "half precision", "maximum", "all positions"],
)
def test_a_network_of_others_has_a_map_if_it_averages(
    tmp_path: Path, ending: list[str], element_type: int, has_map: bool
) -> None:
    converted = convert_graph(foreign(ending, element_type), SIZE, SCALES["0-1"], gives_probabilities=False)
    classifier = write_classifier(tmp_path / "1-run", converted.onnx, converted.head)
    images = pictures(2)
    output = classifier.predict(images)
    if not has_map:
        with pytest.raises(NoActivationMapError, match="trained elsewhere"):
            classifier.locate(images[0], CLASSES[0])
        return
    maps = np.array([[classifier.locate(image, each) for each in CLASSES] for image in images])
    logits = output.features @ converted.head.kernel + converted.head.bias
    np.testing.assert_allclose(maps.mean(axis=(2, 3)) + converted.head.bias, logits, atol=TOLERANCE)


def test_a_model_of_a_task_without_maps_says_so(tmp_path: Path) -> None:
    classifier = Classifier.load(write_tiny_bundle(tmp_path / "1-run", 1))
    assert isinstance(classifier, LocatingModel)
    assert demand_locating(classifier) is classifier

    class Plain:
        card = classifier.card
        predict = classifier.predict
        answer = classifier.answer

    with pytest.raises(NoActivationMapError, match="MYCOFLOW_TASK=classification cannot"):
        demand_locating(Plain())
