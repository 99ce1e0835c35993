"""A few photos of two classes for the benchmarks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with six photos of each of two classes."""
    folder = tmp_path / "photos"
    for seed in range(12):
        path = folder / ("amanita" if seed % 2 else "boletus") / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    return folder
