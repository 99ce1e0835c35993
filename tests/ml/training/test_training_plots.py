from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.training.training_plots import save_learning_curves


@pytest.mark.parametrize("epochs", [1, 40])
def test_learning_curves_are_drawn(tmp_path: Path, epochs: int) -> None:
    falling = list(np.linspace(2, 0.1, epochs))
    history = {"loss": falling, "val_loss": falling, "accuracy": falling, "val_accuracy": falling}
    save_learning_curves(history, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1200, 480)
