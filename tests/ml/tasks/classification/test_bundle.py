import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.backbones.base import BackboneWeights
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.served_backbone import ServedBackbone
from ml.backbones.vgg16.onnx_export import export_backbone
from ml.backbones.vgg16.vgg16_backbone import Vgg16
from ml.errors import ModelLoadError
from ml.registry.file_hashes import FILE_NAME
from ml.tasks.card import ModelCard, load_card
from ml.tasks.classification.answer_confidence import AnswerConfidence
from ml.tasks.classification.bundle import keras_accuracy, make_card, write_bundle
from ml.tasks.classification.classifier import Classifier
from ml.tasks.classification.fitting.head_training import TrainedHead

CLASSES = tuple("0123456789")
UNCALIBRATED = AnswerConfidence.unknown(0, 10)
LOAD_WITH_PLAIN_KERAS = """
import keras
model = keras.models.load_model({path!r})
print(model.input_shape, model.output_shape, [tuple(w.shape) for w in model.layers[-1].weights])
"""


def test_a_bundle_holds_its_files_and_nothing_else(bundle: Path) -> None:
    files = {file.name for file in bundle.iterdir()} - {FILE_NAME}  # registering adds the list
    assert files == {"model.onnx", "model.keras", "head.npz", "model.json"}


def test_both_networks_of_a_bundle_agree(
    tmp_path: Path, backbone: ServedBackbone, head: TrainedHead, card: ModelCard, unseen: Any
) -> None:
    parity = write_bundle(tmp_path, backbone, head, card, unseen.images)
    assert parity.image_count == 32
    assert parity.maximum_difference < 1e-4
    assert parity.top1_agreement == 1.0


def test_an_int8_bundle_serves_int8_and_keeps_keras_in_fp32(
    tmp_path: Path, int8_backbone: ServedBackbone, head: TrainedHead, unseen: Any
) -> None:
    parity = write_bundle(tmp_path, int8_backbone, head, make_card(int8_backbone, CLASSES, UNCALIBRATED), unseen.images)
    assert parity.maximum_difference < 1e-4 < parity.served_difference
    assert parity.served_agreement > 0.8
    card = load_card(tmp_path)
    assert (card.precision, card.backbone_id) == ("int8", int8_backbone.backbone_id)
    served = Classifier.load(tmp_path).predict(unseen.images)
    np.testing.assert_array_equal(served.features, OnnxBackbone(int8_backbone.onnx).features(unseen.images))
    accuracy = (served.probabilities.argmax(axis=1) == unseen.labels).mean()
    assert keras_accuracy(tmp_path, unseen.images, unseen.labels) == pytest.approx(accuracy, abs=0.05)


def test_the_card_names_the_bytes_that_serve(bundle: Path) -> None:
    assert load_card(bundle).model_sha256 == hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest()


def test_the_keras_model_loads_without_our_code(bundle: Path, tmp_path: Path, run_python: Callable[..., str]) -> None:
    path = shutil.copy(bundle / "model.keras", tmp_path)
    printed = run_python(LOAD_WITH_PLAIN_KERAS.format(path=path), tmp_path)
    assert printed.endswith("(None, 32, 32, 3) (None, 10) [(512, 10), (10,)]")


def test_the_stored_keras_model_scores_like_the_served_one(bundle: Path, unseen: Any) -> None:
    predicted = Classifier.load(bundle).predict(unseen.images).probabilities.argmax(axis=1)
    assert keras_accuracy(bundle, unseen.images, unseen.labels) == (predicted == unseen.labels).mean()


def test_networks_that_disagree_are_not_let_through(
    tmp_path: Path,
    backbone: ServedBackbone,
    head: TrainedHead,
    card: ModelCard,
    unseen: Any,
    weights: BackboneWeights,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    swapped = {**weights.arrays, "block1_conv1/kernel": weights.arrays["block1_conv1/kernel"][:, ::-1]}
    monkeypatch.setattr(Vgg16, "read_onnx", lambda *_: BackboneWeights("wrong", swapped))
    with pytest.raises(ModelLoadError, match="agree within"):
        write_bundle(tmp_path, backbone, head, card, unseen.images)


def test_a_served_network_that_is_another_is_not_let_through(
    tmp_path: Path, int8_backbone: ServedBackbone, head: TrainedHead, unseen: Any, weights: BackboneWeights
) -> None:
    nothing = BackboneWeights("nothing", {name: np.zeros_like(each) for name, each in weights.arrays.items()})
    other = replace(int8_backbone, onnx=export_backbone(nothing, 32))
    with pytest.raises(ModelLoadError, match="at least 50%"):
        write_bundle(tmp_path, other, head, make_card(other, CLASSES, UNCALIBRATED), unseen.images)
