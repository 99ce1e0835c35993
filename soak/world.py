"""What people photograph: handwritten digits, from one day on turned by a quarter."""

import io
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from ml.data.membership import is_held_out

_MOST_NOISE = 4  # of 255


def photograph(sheets: Path, day: int, count: int, is_turned: bool) -> Iterator[tuple[str, bytes]]:
    """The photos of a day, all digits alike often: the right name and the image file of each.

    There are fewer digits than photos, so a digit is met again, each time with other noise. Those of one digit are all
    held out for the evaluation set or none: no model learns a digit that it is measured with.

    Args:
        sheets: one folder of files per digit.
        day: another one, other photos.
    """
    generator = np.random.default_rng(day)
    folders = sorted(sheets.iterdir())
    for number in range(count):
        folder = folders[number % len(folders)]
        files = sorted(folder.iterdir())
        yield folder.name, _noisy(files[generator.integers(len(files))], is_turned, generator)


def _noisy(file: Path, is_turned: bool, generator: np.random.Generator) -> bytes:
    side = is_held_out(file.name)
    while True:
        content = _photo(file, is_turned, generator)
        if is_held_out(sha256(content).hexdigest()) == side:  # what the service will decide by
            return content


def _photo(file: Path, is_turned: bool, generator: np.random.Generator) -> bytes:
    with Image.open(file) as image:
        pixels = np.asarray(image.transpose(Image.Transpose.ROTATE_90) if is_turned else image, dtype=np.int16)
    noise = generator.integers(-_MOST_NOISE, _MOST_NOISE + 1, pixels.shape, dtype=np.int16)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
