"""The scalings of input pixels in networks that were trained outside Mycoflow."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ml.backbones.base import PixelScaling


@dataclass(frozen=True)
class Scale:
    """The scaling of a network's input: RGB from 0 to 255 becomes (pixels - mean) * scale, in BGR order if `is_bgr`."""

    scaling: PixelScaling
    is_bgr: bool = False

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scale pixels, uint8 RGB (n, size, size, 3), in NumPy."""
        mean, scale = np.array(self.scaling.mean, np.float32), np.array(self.scaling.scale, np.float32)
        scaled = (pixels.astype(np.float32) - mean) * scale
        return scaled[..., ::-1] if self.is_bgr else scaled


PLAIN = "0-255"
SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        PLAIN: Scale(PixelScaling((0.0, 0.0, 0.0))),
        "0-1": Scale(PixelScaling((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))),
        "-1-1": Scale(PixelScaling((127.5, 127.5, 127.5), (1 / 127.5, 1 / 127.5, 1 / 127.5))),
        # Source: torchvision.models, transforms of the ImageNet weights.
        "imagenet": Scale(PixelScaling((123.675, 116.28, 103.53), (1 / 58.395, 1 / 57.12, 1 / 57.375))),
        # Source: keras.applications.imagenet_utils, mode "caffe".
        "caffe": Scale(PixelScaling((123.68, 116.779, 103.939)), is_bgr=True),
    }
)
