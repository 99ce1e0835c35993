"""The photos of the benchmarks, and an unlimited supply of new photos."""

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.bench_settings import BenchSettings
from ml.ingest.digits import write_digits

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
_PATCH_PIXELS = 8
_QUALITY = 90


@dataclass(frozen=True)
class Dataset:
    """Labelled photos, one folder per class.

    Args:
        name: its name in the report.
        initial: folder of the photos for training.
        evaluation: folder of the photos for evaluation.
    """

    name: str
    initial: Path
    evaluation: Path


def open_dataset(settings: BenchSettings, folder: Path) -> Dataset:
    """Return the photos that DATA names; without DATA, digits at the network's size, written to a folder."""
    if settings.data is not None:
        return Dataset(settings.data.name, settings.data / "initial", settings.data / "evaluation")
    with tempfile.TemporaryDirectory() as temporary:
        digits = write_digits(Path(temporary))
        _enlarge(digits.first, folder / "initial", settings.image_size)
        _enlarge(digits.evaluation, folder / "evaluation", settings.image_size)
    return Dataset("handwritten digits", folder / "initial", folder / "evaluation")


def list_images(folder: Path) -> list[Path]:
    """List the image files of a dataset's folder, class by class."""
    return sorted(path for path in folder.glob("*/*") if path.suffix.lower() in _SUFFIXES)


def write_changed(source: Path, target: Path, turn: Image.Transpose) -> int:
    """Write a rotated copy of every second image, so that half of the newest images are new.

    Returns: the number of copies.
    """
    paths = list_images(source)[::2]
    for path in paths:
        copy = target / path.parent.name / f"{path.stem}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.convert("RGB").transpose(turn).save(copy, "JPEG", quality=_QUALITY)
    return len(paths)


def fresh_images(folder: Path) -> Iterator[bytes]:
    """Yield different photos without end: JPEG files of a folder's photos, each with another patch of noise."""
    paths = list_images(folder)
    generator = np.random.default_rng(0)
    while True:
        for path in paths:
            patch = generator.integers(0, 256, (_PATCH_PIXELS, _PATCH_PIXELS, 3), np.uint8)
            with Image.open(path) as image:
                photo = image.convert("RGB")
            photo.paste(Image.fromarray(patch), (0, 0))
            content = io.BytesIO()
            photo.save(content, "JPEG", quality=_QUALITY)
            yield content.getvalue()


def _enlarge(source: Path, target: Path, side: int) -> None:
    for path in list_images(source):
        copy = target / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.resize((side, side), Image.Resampling.BILINEAR).save(copy, "PNG")
