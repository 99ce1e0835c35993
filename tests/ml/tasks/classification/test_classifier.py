import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.backbones.onnx_runtime import OnnxBackbone
from ml.errors import ModelLoadError
from ml.tasks.classification.classifier import Classifier
from ml.tasks.classification.head import Head, save_head

CLASSIFY = """
import sys, numpy as np
from pathlib import Path
from ml.tasks.classification.classifier import Classifier
from ml.backbones import preprocessing
from ml.registry import mlflow_registry
Classifier.load(Path({path!r})).predict(np.zeros((1, 32, 32, 3), np.uint8))
print([name for name in ("tensorflow", "keras", "mlflow", "onnx", "sklearn") if name in sys.modules])
"""


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(bundle, tmp_path / "copy", ignore=shutil.ignore_patterns("*.keras")))


@pytest.fixture(scope="module")
def classifier(bundle: Path) -> Classifier:
    return Classifier.load(bundle)


def test_probabilities_add_up_and_come_with_the_features(classifier: Classifier, unseen: Any) -> None:
    output = classifier.predict(unseen.images)
    assert output.probabilities.shape == (200, 10)
    np.testing.assert_allclose(output.probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(output.features, unseen.features)


def test_the_head_alone_gives_the_same_probabilities(classifier: Classifier, unseen: Any) -> None:
    output = classifier.predict(unseen.images)
    np.testing.assert_allclose(classifier.classify(output.features), output.probabilities, atol=1e-5)


def test_an_image_gets_the_same_features_in_every_batch(backbone_onnx: bytes, unseen: Any) -> None:
    backbone = OnnxBackbone(backbone_onnx)
    alone = np.concatenate([backbone.features(unseen.images[i : i + 1]) for i in range(5)])
    np.testing.assert_array_equal(alone, backbone.features(unseen.images)[:5])


def test_threads_share_a_classifier(classifier: Classifier, unseen: Any) -> None:
    expected = classifier.predict(unseen.images).probabilities
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: classifier.predict(unseen.images[i : i + 1]).probabilities, range(64)))
    np.testing.assert_array_equal(np.concatenate(answers), expected[:64])


def test_no_images_give_no_answers(classifier: Classifier) -> None:
    output = classifier.predict(np.zeros((0, 32, 32, 3), np.uint8))
    assert (list(output.answers), output.features.shape) == ([], (0, 512))


@pytest.mark.parametrize("images", [np.zeros((1, 32, 33, 3), np.uint8), np.zeros((1, 32, 32, 3), np.float32)])
def test_images_of_another_shape_or_type_are_refused(classifier: Classifier, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Expected uint8 images"):
        classifier.predict(images)


def test_serving_imports_neither_tensorflow_nor_mlflow(bundle: Path, run_python: Callable[..., str]) -> None:
    assert run_python(CLASSIFY.format(path=str(bundle))) == "[]"


@pytest.mark.parametrize("name", ["model.onnx", "head.npz", "model.json"])
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelLoadError, match=name):
        Classifier.load(copy)


@pytest.mark.parametrize("name", ["model.onnx", "head.npz", "model.json"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_truncated_file_is_refused(copy: Path, name: str, share: float) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelLoadError):
        Classifier.load(copy)


@pytest.mark.parametrize(
    "changed",
    [
        {"classes": ["0", "1"]},
        {"classes": list("0123456788")},
        {"classes": "0123456789"},
        {"image_size": 64},
        {"image_size": "32"},
        {"preprocessing": "another"},
        {"unknown": 1},
    ],
)
def test_a_card_that_does_not_fit_is_refused(copy: Path, changed: dict[str, object]) -> None:
    change_card(copy, **changed)
    with pytest.raises(ModelLoadError):
        Classifier.load(copy)


def test_a_head_of_another_model_is_refused(copy: Path) -> None:
    save_head(Head(np.eye(512, 10, dtype=np.float32), np.zeros(10, np.float32)), copy / "head.npz")
    with pytest.raises(ModelLoadError, match="to agree"):
        Classifier.load(copy)


def test_a_head_for_features_of_another_length_is_refused(copy: Path) -> None:
    save_head(Head(np.eye(64, 10, dtype=np.float32), np.zeros(10, np.float32)), copy / "head.npz")
    with pytest.raises(ModelLoadError, match=r"'features': 64.*'features': 512"):
        Classifier.load(copy)


def change_card(folder: Path, **changed: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def test_a_backbone_is_no_classifier_and_the_other_way_round(copy: Path, backbone_onnx: bytes) -> None:
    with pytest.raises(ModelLoadError, match="outputs"):
        OnnxBackbone(copy / "model.onnx")
    (copy / "model.onnx").write_bytes(backbone_onnx)
    change_card(copy, model_sha256=None)
    with pytest.raises(ModelLoadError, match="outputs"):
        Classifier.load(copy)


def test_a_network_that_is_not_the_cards_is_refused(copy: Path) -> None:
    change_card(copy, model_sha256="0" * 64)
    with pytest.raises(ModelLoadError, match="SHA-256"):
        Classifier.load(copy)


def test_a_version_from_before_the_hash_was_kept_loads(copy: Path) -> None:
    written = json.loads((copy / "model.json").read_text())
    old = {
        name: written[name] for name in ("classes", "image_size", "backbone_id", "backbone_weights", "preprocessing")
    }
    (copy / "model.json").write_text(json.dumps(old))
    card = Classifier.load(copy).card
    assert (card.precision, card.backbone) == ("fp32", "vgg16")


@pytest.mark.parametrize(
    ("precision", "reduce_range", "saturates", "is_told"),
    [
        ("int8", False, True, True),
        ("int8", True, True, False),
        ("int8", False, False, False),
        ("fp32", False, True, False),
    ],
)
def test_int8_on_a_cpu_that_saturates_is_told(
    copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    precision: str,
    reduce_range: bool,
    saturates: bool,
    is_told: bool,
) -> None:
    monkeypatch.setattr("ml.tasks.classification.classifier.int8_saturates", lambda: saturates)
    change_card(copy, precision=precision, reduce_range=reduce_range)
    Classifier.load(copy)
    assert ("lacks VNNI" in caplog.text) is is_told
