from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.tasks.classification.confusion_plot import save_confusion_matrix


@pytest.mark.parametrize("count", [2, 10, 30, 200])
def test_a_confusion_matrix_grows_with_its_classes_within_bounds(tmp_path: Path, count: int) -> None:
    names = [f"Amanita muscaria var. {i}" for i in range(count)]
    save_confusion_matrix(np.eye(count, dtype=int).tolist(), names, tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as picture:
        assert 500 < picture.width <= 31 * 120
