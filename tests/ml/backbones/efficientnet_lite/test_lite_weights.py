"""The weights of EfficientNet-Lite0: the installed package, random values, and files of one's own."""

from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest

from ml.backbones.base import BackboneWeights
from ml.backbones.efficientnet_lite import lite_weights
from ml.backbones.efficientnet_lite.lite_blocks import CONVOLUTIONS
from ml.backbones.efficientnet_lite.lite_weights import PACKAGE, PACKAGE_FILE, PACKAGE_SHA256, resolve_weights
from ml.backbones.efficientnet_lite.torch_file import read_tensors
from ml.errors import WeightsError

PACKAGED = Path(str(distribution(PACKAGE).locate_file(PACKAGE_FILE)))


@pytest.fixture(scope="module")
def tensors() -> Mapping[str, np.ndarray]:
    return read_tensors(PACKAGED)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.pth"
    path.touch()
    return path


def test_the_installed_weights_are_read_and_named_by_their_hash() -> None:
    weights = resolve_weights("imagenet")
    assert weights.recipe == f"imagenet:{PACKAGE_SHA256}"
    expected = {f"{each.name}/kernel": each.kernel_shape for each in CONVOLUTIONS}
    expected |= {f"{each.name}/bias": (each.channels_out,) for each in CONVOLUTIONS}
    assert {name: array.shape for name, array in weights.arrays.items()} == expected
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in weights.arrays.values())


def test_the_same_file_elsewhere_has_the_same_weights(tmp_path: Path) -> None:
    (tmp_path / "copy.pth").write_bytes(PACKAGED.read_bytes())
    copied = resolve_weights(str(tmp_path / "copy.pth"))
    assert copied.recipe == f"file:{PACKAGE_SHA256}"
    assert all(np.array_equal(array, copied.arrays[name]) for name, array in resolve_weights("imagenet").arrays.items())


def test_batch_normalisation_is_folded_into_the_convolutions(tensors: Mapping[str, np.ndarray]) -> None:
    arrays = resolve_weights("imagenet").arrays
    values = np.random.default_rng(0).standard_normal(32).astype(np.float32)  # one pixel in front of a projection
    scale, offset, mean, variance = (
        tensors[f"_blocks.0._bn2.{each}"] for each in ("weight", "bias", "running_mean", "running_var")
    )
    convolved = tensors["_blocks.0._project_conv.weight"][:, :, 0, 0] @ values
    expected = (convolved - mean) / np.sqrt(variance + 1e-3) * scale + offset
    kernel, bias = arrays["block1a_project_conv/kernel"], arrays["block1a_project_conv/bias"]
    np.testing.assert_allclose(values @ kernel[0, 0] + bias, expected, rtol=1e-4, atol=1e-5)


def test_random_weights_are_the_same_every_time_and_keep_the_size_of_activations() -> None:
    first, second = resolve_weights("random"), resolve_weights("random")
    assert first.recipe == "random:0"
    assert all(np.array_equal(array, second.arrays[name]) for name, array in first.arrays.items())
    assert first.arrays["block3a_dwconv/kernel"].std() == pytest.approx(np.sqrt(2 / 25), rel=0.05)
    assert first.arrays["block3a_expand_conv/kernel"].std() == pytest.approx(np.sqrt(2 / 24), rel=0.05)
    assert first.arrays["block3a_project_conv/kernel"].std() == pytest.approx(np.sqrt(1 / 144), rel=0.05)


@pytest.mark.parametrize("value", ["bundled", "/nowhere/weights.pth", ""])
def test_other_words_and_missing_files_are_refused(value: str) -> None:
    with pytest.raises(WeightsError, match=r"imagenet, random, or an existing \.pth file"):
        resolve_weights(value)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("_blocks.3._depthwise_conv.weight"),
        lambda tensors: tensors.update({"_bn1.bias": np.zeros(1279, np.float32)}),
        lambda tensors: tensors.update({"_conv_stem.weight": np.full((32, 3, 3, 3), np.nan, np.float32)}),
        lambda tensors: tensors.update({"_bn0.running_var": np.full(32, -1, np.float32)}),
        lambda tensors: tensors.update({"_bn0.weight": np.ones(32, np.int64)}),
    ],
    ids=["missing", "shape", "NaN", "negative variance", "whole numbers"],
)
def test_weights_of_another_network_are_refused(
    monkeypatch: pytest.MonkeyPatch, mine: Path, tensors: Mapping[str, np.ndarray], change: object
) -> None:
    changed = dict(tensors)
    change(changed)  # type: ignore[operator]
    monkeypatch.setattr(lite_weights, "read_tensors", lambda _: changed)
    with pytest.raises(WeightsError, match="as EfficientNet-Lite0 has them"):
        resolve_weights(str(mine))


def test_a_package_that_was_changed_or_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite_weights, "PACKAGE_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match=f"Install {PACKAGE} again"):
        resolve_weights("imagenet")
    monkeypatch.setattr(lite_weights, "PACKAGE", "no-such-package")
    with pytest.raises(WeightsError, match="Install Mycoflow's requirements again"):
        resolve_weights("imagenet")


def test_it_is_the_best_choice_without_settings() -> None:
    value, reason = lite_weights.choose_weights()
    assert isinstance(resolve_weights(value), BackboneWeights)
    assert "ImageNet" in reason
