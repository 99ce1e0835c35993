"""Import Keras and TensorFlow, in one place. That costs seconds and 400 MB, so only a process that trains does it."""

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
    """Import Keras on TensorFlow, without the messages that both print while they start.

    Returns: the module `keras`.
    """
    if "keras" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        with _silent_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow  # noqa: PLC0415

            tensorflow.config.list_physical_devices()  # looks for a GPU now, while nobody reads the complaints
    import keras  # noqa: PLC0415

    keras.config.disable_interactive_logging()
    return keras


def load_tensorflow() -> Any:
    """Import TensorFlow, as quietly.

    Returns: the module `tensorflow`.
    """
    load_keras()
    import tensorflow  # noqa: PLC0415

    return tensorflow


def build_network(backbone: Backbone, weights: BackboneWeights, image_size: int) -> Any:
    """Build a whole backbone. It takes plain pixels and scales them itself, by native layers that plain Keras loads.

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
    """Give each layer of a network that the weights name its arrays."""
    for name, variable in named_variables(network):
        if name in weights.arrays:
            variable.assign(weights.arrays[name])


def named_variables(network: Any) -> Iterator[tuple[str, Any]]:
    """The variables of a network's layers, by the names that they have in `BackboneWeights`."""
    return ((f"{layer.name}/{variable.name}", variable) for layer in network.layers for variable in layer.weights)


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send file descriptor 2 nowhere for a moment: TensorFlow's C++ part logs there before any level applies."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
