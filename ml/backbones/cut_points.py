"""Cut points: fine-tuning freezes the layers in front of one, and computes and stores their output once."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml.errors import TrainingError

BYTES_PER_VALUE = 2  # fp16
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class CutPoint:
    """The input of a layer that can be fine-tuned.

    Args:
        layer: index of that layer in the backbone's `tunable_layers`; at 0 the cut is after the preprocessing.
        tensor: name of the layer's input in the ONNX file; channels-first.
        shape: height, width and channels of one image's activations.
    """

    layer: int
    tensor: str
    shape: tuple[int, int, int]

    @property
    def bytes_per_image(self) -> int:
        """Disk space of one image's activations, bytes."""
        height, width, channels = self.shape
        return height * width * channels * BYTES_PER_VALUE


def choose_cut_point(cut_points: Sequence[CutPoint], first_tuned: int, image_count: int, limit_bytes: int) -> CutPoint:
    """Choose the last cut point in front of the tuned layers whose activations fit on disk.

    Each epoch computes the frozen layers behind the cut point again. A cut point nearer to the input can need less
    space: early activations are large, but the pixels themselves are small.

    Args:
        cut_points: all cut points of the backbone, input first.
        first_tuned: index of the first layer to tune.
        image_count: number of images whose activations are stored.
        limit_bytes: space for the activations of all these images.
    Raises: TrainingError, even the smallest activations do not fit.
    """
    possible = [each for each in reversed(cut_points) if each.layer <= first_tuned]
    fitting = (each for each in possible if each.bytes_per_image * image_count <= limit_bytes)
    if (chosen := next(fitting, None)) is not None:
        return chosen
    smallest = min(each.bytes_per_image for each in possible) * image_count
    raise TrainingError(
        f"Expected room for the activations of {image_count} images in front of the tuned layers: "
        f"{smallest / _MEGABYTE:.0f} MB at least. Received: {limit_bytes / _MEGABYTE:.0f} MB, the smaller of "
        "MYCOFLOW_ACTIVATIONS_LIMIT_GB and half the free space under MYCOFLOW_HOME. Raise the limit, free some disk "
        "space, or use a smaller snapshot."
    )
