"""Where fine-tuning cuts the trunk: what comes before is frozen, and its output is computed once and kept."""

from dataclasses import dataclass

from ml.backbones.vgg16.architecture import kernel_shapes, layer_names
from ml.errors import TrainingError

BYTES_PER_VALUE = 2  # fp16
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Boundary:
    """The input of one convolution.

    Args:
        convolution: index of that convolution, 0 to 12; at 0 the boundary lies behind the preprocessing.
        image_size: side of the network's input, pixels.
    """

    convolution: int
    image_size: int

    @property
    def name(self) -> str:
        """Name of the tensor in the trunk's ONNX file, which is channels-first there."""
        if self.convolution == 0:
            return "channels_first"
        if self._layer.endswith("_conv1"):
            return f"block{self._block - 1}_pool"
        return f"{layer_names()[self.convolution - 1]}_relu"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image's activations."""
        side = self.image_size // 2 ** (self._block - 1)
        return side, side, kernel_shapes()[self.convolution][2]

    @property
    def bytes_per_image(self) -> int:
        """What one image takes on disk."""
        height, width, channels = self.shape
        return height * width * channels * BYTES_PER_VALUE

    @property
    def _layer(self) -> str:
        return layer_names()[self.convolution]

    @property
    def _block(self) -> int:
        return int(self._layer.removeprefix("block")[0])


def choose_boundary(layers: int, image_size: int, image_count: int, limit_bytes: int) -> Boundary:
    """The last boundary in front of the tuned layers whose activations fit on disk.

    Frozen layers that lie behind it are computed again in each epoch. Early boundaries are large and the pixels are
    small, so what does not fit at one place fits further in front.

    Args:
        layers: convolutions to tune, counted from the last one back, 1 to 13.
        image_size: side of the network's input, pixels.
        image_count: images whose activations are kept.
        limit_bytes: space for all of them.
    Raises: TrainingError, not even the smallest fits.
    """
    first_tuned = len(layer_names()) - layers
    boundaries = [Boundary(convolution, image_size) for convolution in range(first_tuned, -1, -1)]
    fitting = (each for each in boundaries if each.bytes_per_image * image_count <= limit_bytes)
    if (found := next(fitting, None)) is not None:
        return found
    smallest = min(each.bytes_per_image for each in boundaries) * image_count
    raise TrainingError(
        f"Expected room for the activations of {image_count} images in front of the last {layers} convolutions: "
        f"{smallest / _MEGABYTE:.0f} MB at least. Received: {limit_bytes / _MEGABYTE:.0f} MB, the smaller of "
        "MYCOFLOW_ACTIVATIONS_LIMIT_GB and half the free space under MYCOFLOW_HOME. Raise the one, free the other, or "
        "take a smaller snapshot."
    )
