"""Images made on the spot, and folders of them."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.ml.dropping import settle


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """encode(image, format, **options) -> the file's bytes."""

    def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
        buffer = BytesIO()
        image.save(buffer, file_format, **options)
        return buffer.getvalue()

    return encoded


@pytest.fixture
def photo() -> Callable[..., Image.Image]:
    """photo(seed, size) -> an RGB image, a different one for each seed."""

    def taken(seed: int = 0, size: tuple[int, int] = (48, 40)) -> Image.Image:
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR)

    return taken


@pytest.fixture
def image_folder(
    tmp_path: Path, photo: Callable[..., Image.Image], encode: Callable[..., bytes]
) -> Callable[[str, dict[str, list[int]]], Path]:
    """image_folder(name, {class: [seed, ...]}) -> a folder with one sub-folder per class, files named by seed."""

    def made(name: str, classes: dict[str, list[int]]) -> Path:
        for label, seeds in classes.items():
            (tmp_path / name / label).mkdir(parents=True)
            for seed in seeds:
                (tmp_path / name / label / f"{seed:03d}.png").write_bytes(encode(photo(seed), "PNG"))
        return tmp_path / name

    return made


@pytest.fixture
def textured() -> Callable[..., Image.Image]:
    """textured(seed, size) -> an RGB image with edges, as a photo has them; unlike any other seed's."""

    def taken(seed: int = 0, size: tuple[int, int] = (96, 80)) -> Image.Image:
        random = np.random.default_rng(seed)
        shapes = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        grain = random.normal(0, 12, (size[1], size[0], 1))
        return Image.fromarray(np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8))

    return taken


@pytest.fixture
def drop_folder(
    tmp_path: Path, textured: Callable[..., Image.Image], encode: Callable[..., bytes]
) -> Callable[[dict[str, list[int]]], Path]:
    """drop_folder({class: [seed, ...]}) -> the folder that images are dropped into, with these more in it."""

    def dropped(classes: dict[str, list[int]]) -> Path:
        folder = tmp_path / "drop"
        for label, seeds in classes.items():
            (folder / label).mkdir(parents=True, exist_ok=True)
            for seed in seeds:
                (folder / label / f"{seed:03d}.png").write_bytes(encode(textured(seed), "PNG"))
        return settle(folder)

    return dropped
