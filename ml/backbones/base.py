"""The protocol of a backbone: a network without its classifier, and everything that Mycoflow must know about it.

Each family of networks has its own folder and one line in `ml.backbones.registered`. Code outside that folder uses only
this protocol. A feature vector may have any length; the ONNX file says which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.backbones.cut_points import CutPoint


@dataclass(frozen=True)
class BackboneWeights:
    """The weights of a network, and their origin.

    Args:
        recipe: `random:<seed>`, or `imagenet:`, `bundled:`, `file:` or `finetuned:` and a SHA-256.
        arrays: float32; keys are Keras' `<layer>/<variable>`, arrays have Keras' layout.
    """

    recipe: str
    arrays: Mapping[str, NDArray[np.float32]] = field(repr=False)


@dataclass(frozen=True)
class PixelScaling:
    """The preprocessing inside the network: RGB from 0 to 255 becomes (pixels - mean) * scale, per channel."""

    mean: tuple[float, float, float]
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Backbone(Protocol):
    """A network that turns uint8 RGB images (batch, size, size, 3) into float32 features (batch, feature_count)."""

    @property
    def name(self) -> str:
        """The name that MYCOFLOW_BACKBONE uses."""

    @property
    def feature_count(self) -> int:
        """Number of values per image."""

    @property
    def minimum_image_size(self) -> int:
        """The smallest side of the square input, pixels."""

    @property
    def default_image_size(self) -> int:
        """The side that suits photos, where MYCOFLOW_IMAGE_SIZE is empty; pixels."""

    @property
    def pixel_scaling(self) -> PixelScaling:
        """The first operation of the network, the same in Keras and in ONNX."""

    @property
    def kept_in_fp32(self) -> Sequence[str]:
        """Names of the ONNX nodes that int8 quantisation must not change."""

    @property
    def tunable_layers(self) -> Sequence[str]:
        """Names of the Keras layers that fine-tuning can train, input first. Fine-tuning trains at most all of them."""

    @property
    def weight_sources(self) -> Mapping[str, str]:
        """What MYCOFLOW_WEIGHTS may be: a word, or the end of a file's name -> what these weights are, for people."""

    def choose_weights(self) -> tuple[str, str]:
        """Choose the weights of a home whose settings name none.

        Returns: a value for MYCOFLOW_WEIGHTS, and the reason for the choice.
        """

    def resolve_weights(self, source: str, /) -> BackboneWeights:
        """Find the weights that MYCOFLOW_WEIGHTS names.

        Raises: WeightsError, they are not available or do not fit this network.
        """

    def build_layers(self, tensor: Any, first_layer: int, /) -> Any:
        """Build the network in Keras, starting at one of the tunable layers. The caller sets the weights afterwards.

        Args:
            tensor: a Keras tensor: scaled pixels for layer 0, else the activations in front of the layer.
            first_layer: index in `tunable_layers`.
        Returns: the features, a Keras tensor.
        """

    def export_onnx(self, weights: BackboneWeights, image_size: int, /) -> bytes:
        """Write the network as ONNX in fp32, without TensorFlow. Equal weights and size give equal bytes.

        Returns: ONNX with input `images`, uint8 (batch, size, size, 3), and output `features`, float32.
        """

    def read_onnx(self, onnx: bytes, recipe: str, /) -> BackboneWeights:
        """Read the weights from a file that `export_onnx` wrote.

        Raises: ModelLoadError, `export_onnx` did not write these bytes.
        """

    def cut_points(self, image_size: int, /) -> Sequence[CutPoint]:
        """Return the places where fine-tuning can cut the network: in front of tunable layers, input first."""
