"""The photos that people take: handwritten digits, from one day on rotated by 90 degrees."""

import io
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from ml.data.membership import is_held_out

_MOST_NOISE = 4  # of 255


def photograph(sheets: Path, day: int, count: int, is_turned: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the photos of a day, equally many of each digit: the true class and the bytes of the image file.

    There are more photos than source files, so the same file appears several times, each time with other noise. Either
    all photos of one file are held out for the evaluation set, or none: no model trains on a digit that measures it.

    Args:
        sheets: one folder of files per digit.
        day: seeds the choice of files and the noise.
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
        if is_held_out(sha256(content).hexdigest()) == side:  # the service decides by this hash
            return content


def _photo(file: Path, is_turned: bool, generator: np.random.Generator) -> bytes:
    with Image.open(file) as image:
        pixels = np.asarray(image.transpose(Image.Transpose.ROTATE_90) if is_turned else image, dtype=np.int16)
    noise = generator.integers(-_MOST_NOISE, _MOST_NOISE + 1, pixels.shape, dtype=np.int16)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
