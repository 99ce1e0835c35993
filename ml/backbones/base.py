"""What a backbone is: a network without its classifier, and all that Mycoflow must know of it.

A family has a folder of its own and one line in `ml.backbones.registered`. Nothing outside that folder knows more of it
than this protocol. Features have any length; the ONNX file says which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.backbones.cut_points import CutPoint


@dataclass(frozen=True)
class BackboneWeights:
    """What a network has learned, and where that came from.

    Args:
        recipe: `random:<seed>`, or `imagenet:`, `bundled:`, `file:` or `finetuned:` and a SHA-256.
        arrays: float32, by `<layer>/<variable>` as Keras names them, in the layout that Keras has.
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
        """What MYCOFLOW_BACKBONE calls it."""

    @property
    def feature_count(self) -> int:
        """Values per image."""

    @property
    def minimum_image_size(self) -> int:
        """The smallest side of the square input, pixels."""

    @property
    def pixel_scaling(self) -> PixelScaling:
        """What the network does first, in Keras as in ONNX."""

    @property
    def kept_in_fp32(self) -> Sequence[str]:
        """Names of the ONNX nodes that int8 leaves alone."""

    @property
    def tunable_layers(self) -> Sequence[str]:
        """Names of the Keras layers that fine-tuning can train, input first. Their number is its limit."""

    def choose_weights(self) -> tuple[str, str]:
        """Choose for a home whose settings name no weights.

        Returns: what MYCOFLOW_WEIGHTS would say, and why.
        """

    def resolve_weights(self, source: str, /) -> BackboneWeights:
        """Find the weights that MYCOFLOW_WEIGHTS names.

        Raises: WeightsError, they cannot be had or are not this network's.
        """

    def build_layers(self, tensor: Any, first_layer: int, /) -> Any:
        """Build the network in Keras, from one of the tunable layers on; weights are set afterwards.

        Args:
            tensor: a Keras tensor: scaled pixels for layer 0, else the activations in front of the layer.
            first_layer: index in `tunable_layers`.
        Returns: the features, a Keras tensor.
        """

    def export_onnx(self, weights: BackboneWeights, image_size: int, /) -> bytes:
        """Write the network as ONNX, fp32, needing no TensorFlow. Equal weights and size give equal bytes.

        Returns: ONNX with input `images`, uint8 (batch, size, size, 3), and output `features`, float32.
        """

    def read_onnx(self, onnx: bytes, recipe: str, /) -> BackboneWeights:
        """Read the weights back out of what `export_onnx` wrote.

        Raises: ModelLoadError, the bytes are something else.
        """

    def cut_points(self, image_size: int, /) -> Sequence[CutPoint]:
        """The places in front of tunable layers where fine-tuning can cut the network, input first."""
