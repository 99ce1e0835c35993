"""Each step of a loaded model alone, without a database and without admission control."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from ml.catalog.answers import Answer
from ml.deadlines import Deadline
from ml.errors import InvalidImageError, ModelLoadError
from ml.serving.loaded_model import LoadedModel
from ml.tasks.classification.classification_task import TASK
from tests.tiny_model import CLASSES, IMAGE_SIZE


def test_a_bundle_s_folder_says_which_version_and_run_it_is(model: LoadedModel) -> None:
    assert (model.version, model.mlflow_run_id, model.card.classes) == (1, "run", tuple(CLASSES))


def test_a_damaged_bundle_is_refused(write_bundle: Callable[[Path, int], Path], tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "7-run", 7)
    (bundle / "model.onnx").write_bytes(b"half a fi")
    with pytest.raises(ModelLoadError):
        LoadedModel.load(bundle, TASK)


def test_a_file_is_decoded_to_what_is_stored_and_what_the_model_looks_at(
    model: LoadedModel, png: Callable[[int], bytes]
) -> None:
    decoded = model.decode(png(1), Deadline(60))
    assert (decoded.image.sha256, decoded.image.media_type) == (sha256(png(1)).hexdigest(), "image/png")
    assert (decoded.image.width, decoded.image.height) == (48, 40)
    assert (decoded.pixels.shape, decoded.pixels.dtype) == ((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)


@pytest.mark.parametrize("content", [b"", b"GIF89a but no more", bytes(100)])
def test_what_is_no_image_is_not_decoded(model: LoadedModel, content: bytes) -> None:
    with pytest.raises(InvalidImageError):
        model.decode(content, Deadline(60))


def test_known_features_give_the_answer_that_pixels_give(model: LoadedModel, png: Callable[[int], bytes]) -> None:
    pixels = np.stack([model.decode(png(seed), Deadline(60)).pixels for seed in range(3)])
    output = model.predict(pixels)
    assert output.probabilities.shape == (3, len(CLASSES))
    np.testing.assert_allclose(output.probabilities.sum(axis=1), 1, rtol=1e-5)
    for features, probabilities in zip(output.features, output.probabilities, strict=True):
        np.testing.assert_allclose(model.answer(features).probabilities, probabilities, rtol=1e-3, atol=1e-6)


def test_an_answer_is_encoded_best_first_and_equals_keep_their_order(model: LoadedModel) -> None:
    answer = Answer("boletus", 0.4, 0.0, np.array([0.1, 0.4, 0.4, 0.1], np.float32))
    encoded = model.encode(answer, 3)
    assert [each["name"] for each in encoded] == ["boletus", "cantharellus", "amanita"]
    assert [each["proba"] for each in encoded] == [40.0, 40.0, 10.0]
