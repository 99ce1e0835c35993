"""The photos that everything is measured on, and photos that nobody has seen yet."""

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
        name: for the table.
        initial: to train on.
        evaluation: to measure with.
    """

    name: str
    initial: Path
    evaluation: Path


def open_dataset(settings: BenchSettings, folder: Path) -> Dataset:
    """The photos that DATA names, or else the handwritten digits at the network's size, written below a folder."""
    if settings.data is not None:
        return Dataset(settings.data.name, settings.data / "initial", settings.data / "evaluation")
    with tempfile.TemporaryDirectory() as temporary:
        digits = write_digits(Path(temporary))
        _enlarge(digits.first, folder / "initial", settings.image_size)
        _enlarge(digits.evaluation, folder / "evaluation", settings.image_size)
    return Dataset("handwritten digits", folder / "initial", folder / "evaluation")


def list_images(folder: Path) -> list[Path]:
    """The image files of a dataset's folder, class by class."""
    return sorted(path for path in folder.glob("*/*") if path.suffix.lower() in _SUFFIXES)


def write_changed(source: Path, target: Path, turn: Image.Transpose) -> int:
    """Write a turned copy of every second image, so that half of the newest images are new.

    Returns: how many.
    """
    paths = list_images(source)[::2]
    for path in paths:
        copy = target / path.parent.name / f"{path.stem}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.convert("RGB").transpose(turn).save(copy, "JPEG", quality=_QUALITY)
    return len(paths)


def fresh_images(folder: Path) -> Iterator[bytes]:
    """Photos without end, no two alike: those of a folder, each with another patch of noise, as JPEG files."""
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
