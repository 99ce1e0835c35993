"""Import Keras and TensorFlow, in one place. The import takes seconds and 400 MB: only a training process does it."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml.backbones.base import Backbone, BackboneWeights
from ml.backbones.preprocessing import INPUT_CHANNELS


def load_keras() -> Any:
    """Import Keras on TensorFlow, and hide the messages that both print at import.

    Returns: the module `keras`.
    """
    if "keras" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        with _silent_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow  # noqa: PLC0415

            tensorflow.config.list_physical_devices()  # looks for a GPU now, while its warnings are hidden
    import keras  # noqa: PLC0415

    keras.config.disable_interactive_logging()
    return keras


def load_tensorflow() -> Any:
    """Import TensorFlow, and hide its messages.

    Returns: the module `tensorflow`.
    """
    load_keras()
    import tensorflow  # noqa: PLC0415

    return tensorflow


def build_network(backbone: Backbone, weights: BackboneWeights, image_size: int) -> Any:
    """Build a whole backbone that takes unscaled pixels. All its layers are Keras' own, so plain Keras can load it.

    Args: image_size, side of the square input, pixels.
    Returns: keras.Model, uint8 RGB (batch, image_size, image_size, 3) in, float32 (batch, feature_count) out.
    """
    keras, scaling = load_keras(), backbone.pixel_scaling
    pixels = keras.Input((image_size, image_size, INPUT_CHANNELS), dtype="uint8", name="images")
    offset = [-mean * scale for mean, scale in zip(scaling.mean, scaling.scale, strict=True)]
    scaled = keras.layers.Rescaling(list(scaling.scale), offset, name="scale_pixels")(pixels)
    network = keras.Model(pixels, backbone.build_layers(scaled, 0), name=backbone.name)
    set_weights(network, weights)
    return network


def set_weights(network: Any, weights: BackboneWeights) -> None:
    """Set the arrays of each layer that the weights name. Other layers stay as they are."""
    for name, variable in named_variables(network):
        if name in weights.arrays:
            variable.assign(weights.arrays[name])


def named_variables(network: Any) -> Iterator[tuple[str, Any]]:
    """Yield each variable of a network's layers with its key in `BackboneWeights.arrays`."""
    return ((f"{layer.name}/{variable.name}", variable) for layer in network.layers for variable in layer.weights)


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Redirect file descriptor 2 to the null device: TensorFlow's C++ code logs there before its log level applies."""
    sys.stderr.flush()
    original = os.dup(2)
    with Path(os.devnull).open("wb") as null_device:
        os.dup2(null_device.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
