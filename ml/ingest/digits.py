"""The sample for newcomers: the UCI handwritten digits inside scikit-learn, as folders of images.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE_PIXELS = 32  # the smallest size that validation accepts
_EVALUATION_PER_CLASS = 25
_FIRST_PER_CLASS = 120
_FIRST_OF_RARE_CLASS = 20
_RARE_CLASSES = (8, 9)


@dataclass(frozen=True)
class DigitFolders:
    """The folders of the three parts of the sample. Each has one sub-folder per digit.

    Args:
        evaluation: 250 images, 25 per digit.
        first: 1000 images, 120 per digit, but only 20 each of 8 and 9, so that a first model is weak at them.
        later: the other 547 images.
    """

    evaluation: Path
    first: Path
    later: Path


def write_digits(folder: Path) -> DigitFolders:
    """Write the 1797 digits as PNG files, always the same files in the same parts.

    Args: folder, created if it does not exist.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - a second of import that only the sample needs

    folders = DigitFolders(folder / "evaluation", folder / "first", folder / "later")
    data = load_digits()
    for digit in range(10):
        for part, index in _split_class(folders, digit, data.images, np.flatnonzero(data.target == digit)):
            _write(data.images[index], part / str(digit) / f"{index:04d}.png")
    return folders


def _split_class(
    folders: DigitFolders, digit: int, images: NDArray[np.float64], indices: NDArray[np.intp]
) -> Iterator[tuple[Path, int]]:
    """Split one class into the parts, in an order that depends only on the pixels: the data set is sorted by writer."""
    shuffled = sorted(indices.tolist(), key=lambda index: sha256(images[index].tobytes()).digest())
    first_count = _FIRST_OF_RARE_CLASS if digit in _RARE_CLASSES else _FIRST_PER_CLASS
    for rank, index in enumerate(shuffled):
        if rank < _EVALUATION_PER_CLASS:
            yield folders.evaluation, index
        elif rank < _EVALUATION_PER_CLASS + first_count:
            yield folders.first, index
        else:
            yield folders.later, index


def _write(image: NDArray[np.float64], path: Path) -> None:
    """Write one digit (8x8, 0 to 16) at 32x32.

    Each value counts the black pixels in a 4x4 block of a 32x32 bitmap. Bilinear interpolation makes the edges of
    strokes smooth; nearest neighbour would make blocks.
    """
    grey = Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    grey.resize((_SIDE_PIXELS, _SIDE_PIXELS), Image.Resampling.BILINEAR).save(path, "PNG")
