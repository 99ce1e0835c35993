"""EfficientNet-Lite0 as plain data, for the code that builds it in Keras, writes it as ONNX, or reads its weights.

Batch normalisation is folded into the convolutions in front of it, so each convolution has a bias.

Source: arXiv 1905.11946 and github.com/tensorflow/tpu, efficientnet/lite; names as in keras.applications.efficientnet.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ml.backbones.preprocessing import INPUT_CHANNELS

FEATURE_COUNT = 1280
MINIMUM_IMAGE_SIZE = 32  # five strides of 2 reduce it to 1
HIGHEST_ACTIVATION = 6.0
# (expansion, stride, channels, kernel size, repeats) of each stage. The expansion multiplies the input's channels.
_STAGES = (
    (1, 1, 16, 3, 1),
    (6, 2, 24, 3, 2),
    (6, 2, 40, 5, 2),
    (6, 2, 80, 3, 3),
    (6, 1, 112, 5, 3),
    (6, 2, 192, 5, 4),
    (6, 1, 320, 3, 1),
)
_STEM_CHANNELS = 32


@dataclass(frozen=True)
class Convolution:
    """A convolution with "same" padding as in TensorFlow, and ReLU6 behind it if it is activated."""

    name: str
    kernel_size: int
    stride: int
    channels_in: int
    channels_out: int
    is_depthwise: bool = False
    is_activated: bool = True

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """The kernel's shape in Keras: (height, width, channels in, channels out), or 1 for each depthwise channel."""
        return self.kernel_size, self.kernel_size, self.channels_in, 1 if self.is_depthwise else self.channels_out

    @property
    def torch_shape(self) -> tuple[int, int, int, int]:
        """The kernel's shape in torch and ONNX."""
        return self.channels_out, 1 if self.is_depthwise else self.channels_in, self.kernel_size, self.kernel_size

    def to_keras(self, kernel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn a kernel from the layout of torch and ONNX into that of Keras."""
        return np.ascontiguousarray(kernel.transpose(2, 3, 0, 1) if self.is_depthwise else kernel.transpose(2, 3, 1, 0))

    def to_onnx(self, kernel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn a kernel from the layout of Keras into that of torch and ONNX."""
        return np.ascontiguousarray(kernel.transpose(2, 3, 0, 1) if self.is_depthwise else kernel.transpose(3, 2, 0, 1))

    @property
    def output(self) -> str:
        """The name of its output in the ONNX file."""
        return f"{self.name}_relu6" if self.is_activated else self.name


@dataclass(frozen=True)
class Block:
    """Convolutions one after the other. Where `adds_input`, the block's input is added to their output."""

    name: str
    convolutions: tuple[Convolution, ...]
    adds_input: bool = False

    @property
    def stride(self) -> int:
        return max(each.stride for each in self.convolutions)

    @property
    def output(self) -> str:
        """The name of its output in the ONNX file."""
        return f"{self.name}_add" if self.adds_input else self.convolutions[-1].output


def _inverted_bottleneck(name: str, expansion: int, stride: int, channels: tuple[int, int], kernel_size: int) -> Block:
    """Return a block that widens its input, filters each channel, and narrows the result. Source: arXiv 1801.04381."""
    channels_in, channels_out = channels
    wide = channels_in * expansion
    expand = [Convolution(f"{name}_expand_conv", 1, 1, channels_in, wide)] if expansion > 1 else []
    depthwise = Convolution(f"{name}_dwconv", kernel_size, stride, wide, wide, is_depthwise=True)
    project = Convolution(f"{name}_project_conv", 1, 1, wide, channels_out, is_activated=False)
    return Block(name, (*expand, depthwise, project), adds_input=stride == 1 and channels_in == channels_out)


def _bottlenecks() -> Iterator[Block]:
    channels_in = _STEM_CHANNELS
    for stage, (expansion, stride, channels_out, kernel_size, repeats) in enumerate(_STAGES, start=1):
        for repeat in range(repeats):
            name, step = f"block{stage}{'abcd'[repeat]}", stride if repeat == 0 else 1
            yield _inverted_bottleneck(name, expansion, step, (channels_in, channels_out), kernel_size)
            channels_in = channels_out


BOTTLENECKS = tuple(_bottlenecks())
BLOCKS = (
    Block("stem", (Convolution("stem_conv", 3, 2, INPUT_CHANNELS, _STEM_CHANNELS),)),
    *BOTTLENECKS,
    Block("top", (Convolution("top_conv", 1, 1, _STAGES[-1][2], FEATURE_COUNT),)),
)
CONVOLUTIONS = tuple(chain.from_iterable(block.convolutions for block in BLOCKS))


def sides(image_size: int) -> list[int]:
    """Return the side of each block's input, pixels."""
    side, inputs = image_size, []
    for block in BLOCKS:
        inputs.append(side)
        side = -(-side // block.stride)
    return inputs
