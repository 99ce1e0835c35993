"""Find weights for VGG16: Keras' ImageNet file, the bundled file, a user's file, or seeded random values.

There is no silent fallback: cached features are valid only for their weights. TensorFlow is imported only to download.
"""

import hashlib
import os
import urllib.request
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.backbones.base import BackboneWeights
from ml.backbones.vgg16.architecture import kernel_shapes, layer_names
from ml.backbones.vgg16.weights_file import Arrays, read_convolutions
from ml.errors import WeightsError

PUBLISHED_NAME = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
PUBLISHED_MD5 = "6d6bbae143d832006294945121d1f1fc"
PUBLISHED_BASE_URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
BUNDLED_FILE = Path(__file__).parent / "bundled" / "vgg16_tiny_imagenet.weights.h5"
BUNDLED_SHA256 = "9e921ba04a5e76bb4f3867cefa3a0f7649fb37d240328e6385e6e7e8c33ebfc7"
RANDOM_SEED = 0
ANSWER_SECONDS = 10
WEIGHT_SOURCES = {
    "imagenet": "Keras' published file, from Keras' cache or downloaded; CC BY 4.0",
    "bundled": "learned from Tiny ImageNet, part of Mycoflow; not for commercial use",
    "random": "for tests and simple pictures",
    ".weights.h5": "a file that Keras' save_weights wrote",
}


def resolve_weights(
    weights: str, base_url: str = PUBLISHED_BASE_URL, cache_folder: Path | None = None
) -> BackboneWeights:
    """Find the weights that a setting names.

    Args:
        weights: `imagenet`, `bundled`, `random`, or the path of a `.weights.h5` file. The network of that file takes
            BGR pixels minus the ImageNet mean, as keras.applications.vgg16 does.
        base_url: where Keras' file is published, with the closing slash.
        cache_folder: where Keras stores downloaded weights; `models` under KERAS_HOME (~/.keras) when not given.
    Raises: WeightsError, the file is not available or does not hold VGG16's weights.
    """
    if weights == "random":
        return _random_weights(RANDOM_SEED)
    if weights == "imagenet":
        return _from_file("imagenet", _published_file(base_url, cache_folder or _keras_cache()))
    if weights == "bundled":
        return _bundled_weights()
    path = Path(weights).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"Expected MYCOFLOW_WEIGHTS to be imagenet, bundled, random, or an existing .weights.h5 file. "
            f"Received: {weights!r}, and there is no such file. Correct the path."
        )
    return _from_file("file", path)


def choose_weights(
    base_url: str = PUBLISHED_BASE_URL, cache_folder: Path | None = None
) -> tuple[Literal["imagenet", "bundled"], str]:
    """Choose the weights of a home whose settings name none: the best that are available here.

    Args: as for `resolve_weights`.
    Returns: a value for MYCOFLOW_WEIGHTS, and the reason for the choice.
    """
    try:
        path = _published_file(base_url, cache_folder or _keras_cache())
    except WeightsError as error:
        return "bundled", f"the weights that come with Mycoflow, because ImageNet's are not available. {error}"
    return "imagenet", f"Keras' published ImageNet weights, {path}."


def _bundled_weights() -> BackboneWeights:
    weights = _from_file("bundled", BUNDLED_FILE)
    if weights.recipe != f"bundled:{BUNDLED_SHA256}":
        raise WeightsError(
            f"Expected {BUNDLED_FILE} with SHA-256 {BUNDLED_SHA256}. Received {weights.recipe}. Install Mycoflow again."
        )
    return weights


def _random_weights(seed: int) -> BackboneWeights:
    """Draw He-normal kernels from one NumPy generator, in the order of the layers; all biases are zero.

    Keras does not draw them, so the bytes do not depend on TensorFlow's version. Source: arXiv 1502.01852.
    """
    generator = np.random.default_rng(seed)
    kernels = [
        generator.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / np.prod(shape[:3])))
        for shape in kernel_shapes()
    ]
    return _name(f"random:{seed}", kernels, [np.zeros(shape[3], np.float32) for shape in kernel_shapes()])


def _from_file(kind: str, path: Path) -> BackboneWeights:
    kernels, biases = read_convolutions(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # Published files take BGR. Reverse the channels here once: all other code uses RGB.
    first = np.ascontiguousarray(kernels[0][:, :, ::-1, :])
    return _name(f"{kind}:{digest}", [first, *kernels[1:]], biases)


def _name(recipe: str, kernels: Arrays, biases: Arrays) -> BackboneWeights:
    """Args: kernels (3, 3, channels in, channels out) and biases (channels out,), input first."""
    arrays: dict[str, NDArray[np.float32]] = {}
    for name, kernel, bias in zip(layer_names(), kernels, biases, strict=True):
        arrays |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    return BackboneWeights(recipe, arrays)


def _published_file(base_url: str, folder: Path) -> Path:
    path = folder / PUBLISHED_NAME
    if path.is_file() and _md5(path) == PUBLISHED_MD5:
        return path
    from ml.backbones.keras_backend import load_keras  # noqa: PLC0415

    try:
        # Give up after seconds if the host does not answer; get_file would wait for minutes.
        urllib.request.urlopen(base_url + PUBLISHED_NAME, timeout=ANSWER_SECONDS).close()  # noqa: S310
        return Path(
            load_keras().utils.get_file(
                PUBLISHED_NAME,
                base_url + PUBLISHED_NAME,
                file_hash=PUBLISHED_MD5,
                cache_dir=str(folder.parent),
                cache_subdir=folder.name,
            )
        )
    except Exception as error:  # get_file raises plain Exception
        raise WeightsError(
            f"Expected Keras' published VGG16 weights at {path} or at {base_url}. Found them in neither ({error}). "
            f"Put {PUBLISHED_NAME} (MD5 {PUBLISHED_MD5}) at {path}, or set "
            "MYCOFLOW_WEIGHTS=/path/to/file.weights.h5, or MYCOFLOW_WEIGHTS=bundled for the weights that come with "
            "Mycoflow."
        ) from error


def _keras_cache() -> Path:
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
