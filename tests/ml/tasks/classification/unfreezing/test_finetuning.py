"""The parts of fine-tuning, on handwritten digits at 32x32 with a random backbone."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ml import deadlines
from ml.backbones.base import BackboneWeights
from ml.backbones.cut_points import CutPoint, choose_cut_point
from ml.backbones.standardisation import Standardisation
from ml.backbones.vgg16.architecture import layer_names
from ml.backbones.vgg16.onnx_export import export_backbone
from ml.backbones.vgg16.vgg16_backbone import BACKBONE
from ml.deadlines import Deadline
from ml.errors import ImageStoreError, TrainingError
from ml.tasks.classification.head import Head
from ml.tasks.classification.keras_classifier import build_classifier
from ml.tasks.classification.unfreezing.activations import BATCH_IMAGES, SCALE, stored_activations
from ml.tasks.classification.unfreezing.unfrozen_layers import build_tail, tuned_weights
from ml.tasks.classification.unfreezing.unfrozen_training import Examples, train_tail

IMAGE_COUNT = 120
LEARNING_RATE = 1e-4
CUTS = BACKBONE.cut_points(32)


SEEN = [(f"{index:064x}", "identity") for index in range(IMAGE_COUNT)]

Read = Callable[[Sequence[tuple[str, str]]], NDArray[np.uint8]]
Keep = Callable[[CutPoint], NDArray[np.float16]]


@pytest.fixture(scope="module")
def read(digit_images: Any) -> Read:
    """Return a function that reads digits by their position, which is used in place of their hash."""
    return lambda seen: np.stack([digit_images.images[int(sha256, 16)] for sha256, _ in seen])


@pytest.fixture(scope="module")
def activations_at(read: Read, backbone_onnx: bytes, tmp_path_factory: pytest.TempPathFactory) -> Keep:
    def keep(cut: CutPoint) -> NDArray[np.float16]:
        with stored_activations(tmp_path_factory.mktemp("home"), read, backbone_onnx, cut, SEEN) as activations:
            return np.array(activations)

    return keep


@pytest.fixture(scope="module")
def standardisation(training_fold: Any) -> Standardisation:
    """Standardisation of the features that `head` was trained on."""
    return Standardisation.of(training_fold.features)


@pytest.fixture(scope="module")
def examples(activations_at: Keep, digit_images: Any) -> Examples:
    """The activations before the last two convolutions: 90 images for training, 30 for validation."""
    return Examples(activations_at(CUTS[11]), digit_images.labels[:IMAGE_COUNT], np.arange(IMAGE_COUNT) < 90)


def test_before_training_the_tail_answers_like_the_whole_network(
    weights: BackboneWeights, head: Head, standardisation: Standardisation, activations_at: Keep, digit_images: Any
) -> None:
    expected = build_classifier(BACKBONE, weights, head, 32)(digit_images.images[:32]).numpy()
    for convolution in (0, 1, 2, 11, 12):
        cut = CUTS[convolution]
        tail = build_tail(BACKBONE, weights, head, standardisation, cut, layers=1, seed=0)
        answered = tail(activations_at(cut)[:32]).numpy()
        assert np.abs(answered - expected).max() < 5e-3, cut.tensor


def test_only_the_tuned_layers_change(
    weights: BackboneWeights, head: Head, standardisation: Standardisation, activations_at: Keep, digit_images: Any
) -> None:
    cut = CUTS[9]  # one frozen convolution follows it
    tail = build_tail(BACKBONE, weights, head, standardisation, cut, layers=3, seed=0)
    examples = Examples(activations_at(cut), digit_images.labels[:IMAGE_COUNT], np.arange(IMAGE_COUNT) < 90)
    train_tail(tail, examples, 1, LEARNING_RATE, 0, Deadline(60.0))
    tuned = tuned_weights(weights, tail)
    for name in layer_names():
        before, after = weights.arrays[f"{name}/kernel"], tuned.arrays[f"{name}/kernel"]
        assert np.array_equal(before, after) == (name not in layer_names()[-3:]), name
    assert tuned.recipe.startswith("finetuned:")
    assert (
        tuned.recipe != tuned_weights(weights, build_tail(BACKBONE, weights, head, standardisation, cut, 3, 0)).recipe
    )


def test_the_best_epoch_is_kept_and_training_can_be_repeated_exactly(
    weights: BackboneWeights, head: Head, standardisation: Standardisation, examples: Examples
) -> None:
    recipes, histories = [], []
    for _ in range(2):
        tail = build_tail(BACKBONE, weights, head, standardisation, CUTS[11], layers=2, seed=0)
        histories.append(train_tail(tail, examples, 4, 3e-3, 0, Deadline(60.0)))
        recipes.append(tuned_weights(weights, tail).recipe)
        validation = examples.activations[90:], examples.labels[90:]
        _, accuracy = tail.evaluate(*validation, verbose=0)
    assert recipes[0] == recipes[1]
    assert histories[0] == histories[1]
    assert len(histories[0]["val_accuracy"]) == 4
    assert accuracy == pytest.approx(max(histories[0]["val_accuracy"]))


def test_training_learns(
    weights: BackboneWeights, head: Head, standardisation: Standardisation, examples: Examples
) -> None:
    unfitted = Head(np.zeros_like(head.kernel), np.zeros_like(head.bias))
    tail = build_tail(BACKBONE, weights, unfitted, standardisation, CUTS[11], layers=2, seed=0)
    history = train_tail(tail, examples, 8, 3e-4, 0, Deadline(60.0))
    assert history["loss"][-1] < history["loss"][0] * 0.7


def test_training_stops_when_its_time_is_up(
    weights: BackboneWeights,
    head: Head,
    standardisation: Standardisation,
    examples: Examples,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(deadlines, "time", SimpleNamespace(monotonic=lambda: now[-1]))

    def use_up_the_budget(_epoch: int, _: dict[str, float]) -> None:
        now.append(3.0)

    tail = build_tail(BACKBONE, weights, head, standardisation, CUTS[11], layers=2, seed=0)
    history = train_tail(tail, examples, 50, LEARNING_RATE, 0, Deadline(3.0), use_up_the_budget)
    assert len(history["loss"]) == 2  # the second epoch ends after its first batch
    with pytest.raises(TrainingError, match="MYCOFLOW_TRAINING_BUDGET_MINUTES"):
        train_tail(tail, examples, 50, LEARNING_RATE, 0, Deadline(0.0))


def test_a_loss_that_runs_away_is_an_error(
    weights: BackboneWeights, head: Head, standardisation: Standardisation, examples: Examples
) -> None:
    tail = build_tail(BACKBONE, weights, head, standardisation, CUTS[11], layers=2, seed=0)
    with pytest.raises(TrainingError, match="lower learning rate"):
        train_tail(tail, examples, 3, 1e12, 0, Deadline(60.0))


def test_activations_are_computed_once_and_removed_at_the_end(read: Read, backbone_onnx: bytes, tmp_path: Path) -> None:
    cut, computed = CUTS[12], []
    arguments = (tmp_path, read, backbone_onnx, cut, SEEN, lambda done, _: computed.append(done))
    with pytest.raises(RuntimeError, match="killed"), stored_activations(*arguments) as activations:
        first = np.array(activations)
        raise RuntimeError("killed")
    assert computed[-1] == IMAGE_COUNT
    assert len(computed) == -(-IMAGE_COUNT // BATCH_IMAGES)
    (kept,) = (tmp_path / "activations").iterdir()
    assert kept.stat().st_size == IMAGE_COUNT * cut.bytes_per_image

    computed.clear()
    with stored_activations(*arguments) as activations:
        assert np.array_equal(activations, first)
    assert computed == []
    assert list((tmp_path / "activations").iterdir()) == []


def test_what_a_dead_run_left_half_written_or_long_ago_is_not_taken(
    read: Read, backbone_onnx: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "activations"
    folder.mkdir()
    (folder / "old.fp16").write_bytes(b"old")
    os.utime(folder / "old.fp16", (0, 0))

    def die_in_the_second_batch(seen: Sequence[tuple[str, str]]) -> NDArray[np.uint8]:
        if SEEN[0] in seen:
            return read(seen)
        raise ImageStoreError("the store is down")

    arguments = (tmp_path, die_in_the_second_batch, backbone_onnx, CUTS[12], SEEN)
    with pytest.raises(ImageStoreError, match="is down"), stored_activations(*arguments):
        pass
    assert list(folder.iterdir()) == []


def test_activations_that_are_not_numbers_are_refused(read: Read, weights: BackboneWeights, tmp_path: Path) -> None:
    first = weights.arrays["block1_conv1/kernel"] * np.float32(1e30)
    damaged = export_backbone(BackboneWeights("random:0", {**weights.arrays, "block1_conv1/kernel": first}), 32)
    with (
        pytest.raises(TrainingError, match="damaged"),
        stored_activations(tmp_path, read, damaged, CUTS[12], SEEN[:2]),
    ):
        pass


def test_pixels_survive_fp16(activations_at: Keep, digit_images: Any) -> None:
    mean = np.array([123.68, 116.779, 103.939], np.float32)
    centred = activations_at(CUTS[0]).astype(np.float32) / SCALE
    assert np.abs(centred + mean - digit_images.images[:IMAGE_COUNT]).max() < 0.07


def choose(layers: int, limit_bytes: int) -> CutPoint:
    """Choose the cut point for 1000 images of 160 pixels."""
    return choose_cut_point(BACKBONE.cut_points(160), 13 - layers, 1000, limit_bytes)


def test_the_cut_lies_right_before_the_tuned_layers_when_there_is_room() -> None:
    chosen = [choose(layers, 10**12) for layers in (1, 3, 6, 12, 13)]
    assert [each.tensor for each in chosen] == [
        "block5_conv2_relu",
        "block4_pool",
        "block3_pool",
        "block1_conv1_relu",
        "channels_first",
    ]
    assert chosen[1].shape == (10, 10, 512)
    assert chosen[1].bytes_per_image == 102_400


def test_a_cut_without_room_moves_to_where_there_is_some() -> None:
    in_front_of_block1_conv2 = BACKBONE.cut_points(160)[1].bytes_per_image * 1000
    assert choose(12, in_front_of_block1_conv2).layer == 1
    assert choose(12, in_front_of_block1_conv2 - 1).layer == 0
    with pytest.raises(TrainingError, match=r"102 MB at least. Received: 50 MB"):
        choose(3, 50_000_000)
