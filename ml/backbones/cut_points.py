"""Where fine-tuning cuts a backbone: what comes before is frozen, and its output is computed once and kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml.errors import TrainingError

BYTES_PER_VALUE = 2  # fp16
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class CutPoint:
    """The input of a layer that can be fine-tuned.

    Args:
        layer: index of that layer among the backbone's tunable ones; at 0 it is cut behind the preprocessing.
        tensor: its name in the ONNX file, where it is channels-first.
        shape: height, width and channels of one image's activations.
    """

    layer: int
    tensor: str
    shape: tuple[int, int, int]

    @property
    def bytes_per_image(self) -> int:
        """What one image takes on disk."""
        height, width, channels = self.shape
        return height * width * channels * BYTES_PER_VALUE


def choose_cut_point(cut_points: Sequence[CutPoint], first_tuned: int, image_count: int, limit_bytes: int) -> CutPoint:
    """The last cut point in front of the tuned layers whose activations fit on disk.

    Frozen layers that lie behind it are computed again in each epoch. Early activations are large and the pixels are
    small, so what does not fit at one place fits further in front.

    Args:
        cut_points: the backbone's, input first.
        first_tuned: index of the first layer to tune.
        image_count: images whose activations are kept.
        limit_bytes: space for all of them.
    Raises: TrainingError, not even the smallest fits.
    """
    possible = [each for each in reversed(cut_points) if each.layer <= first_tuned]
    fitting = (each for each in possible if each.bytes_per_image * image_count <= limit_bytes)
    if (found := next(fitting, None)) is not None:
        return found
    smallest = min(each.bytes_per_image for each in possible) * image_count
    raise TrainingError(
        f"Expected room for the activations of {image_count} images in front of the tuned layers: "
        f"{smallest / _MEGABYTE:.0f} MB at least. Received: {limit_bytes / _MEGABYTE:.0f} MB, the smaller of "
        "MYCOFLOW_ACTIVATIONS_LIMIT_GB and half the free space under MYCOFLOW_HOME. Raise the one, free the other, or "
        "take a smaller snapshot."
    )
