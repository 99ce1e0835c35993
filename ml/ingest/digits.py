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

_SIDE_PIXELS = 32  # the least that validation lets in
_EVALUATION_PER_CLASS = 25
_FIRST_PER_CLASS = 120
_FIRST_OF_RARE_CLASS = 20
_RARE_CLASSES = (8, 9)


@dataclass(frozen=True)
class DigitFolders:
    """Where the three parts of the sample lie, each one folder per digit.

    Args:
        evaluation: 250 images, 25 a digit.
        first: 1000 images, 120 a digit, but 20 each of 8 and 9: a first model is honestly weak there.
        later: the other 547.
    """

    evaluation: Path
    first: Path
    later: Path


def write_digits(folder: Path) -> DigitFolders:
    """Write the 1797 digits as PNG files, always the same files in the same parts.

    Args: folder, made where it does not exist.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415 - a second of import that only the sample needs

    folders = DigitFolders(folder / "evaluation", folder / "first", folder / "later")
    data = load_digits()
    for digit in range(10):
        for part, index in _parted(folders, digit, data.images, np.flatnonzero(data.target == digit)):
            _write(data.images[index], part / str(digit) / f"{index:04d}.png")
    return folders


def _parted(
    folders: DigitFolders, digit: int, images: NDArray[np.float64], indices: NDArray[np.intp]
) -> Iterator[tuple[Path, int]]:
    """Deal one class out, in an order that hangs on the pixels alone: the data set's own order follows its writers."""
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

    Each value counts the ink in a 4x4 block of a 32x32 bitmap, which is all that is left of the pen's stroke: bilinear
    interpolation gives it back its smooth edge, where nearest neighbour would make stairs of it.
    """
    grey = Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    grey.resize((_SIDE_PIXELS, _SIDE_PIXELS), Image.Resampling.BILINEAR).save(path, "PNG")
