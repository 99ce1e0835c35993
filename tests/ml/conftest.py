"""A deployment of its own for each test that plays a night: real PostgreSQL, real MLflow, digits at 32x32."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.app import Workspace, open_workspace
from ml.ingest.digits import DigitFolders, write_digits
from ml.ingest.folder import ingest_folder
from ml.settings import Settings
from tests.ml.image_rows import add_images
from tests.ml.trained_digits import (
    bundle,
    card,
    digit_images,
    head,
    int8_trunk,
    mlflow_server,
    registry,
    run_python,
    small_digits,
    train,
    training_fold,
    trunk,
    trunk_onnx,
    unseen,
    validation_fold,
    weights,
)

# Fixtures for all tests of ml: pytest finds them by their names here.
__all__ = [
    "add_images",
    "bundle",
    "card",
    "digit_images",
    "head",
    "int8_trunk",
    "mlflow_server",
    "registry",
    "run_python",
    "small_digits",
    "train",
    "training_fold",
    "trunk",
    "trunk_onnx",
    "unseen",
    "validation_fold",
    "weights",
]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> DigitFolders:
    return write_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture
def few_digits(digits: DigitFolders, tmp_path: Path) -> DigitFolders:
    """Three classes, 20 + 60 + 40 images each: enough to learn from, quick to run."""

    def take(source: Path, name: str, start: int, stop: int) -> Path:
        for digit in ("0", "1", "2"):
            target = tmp_path / name / digit
            target.mkdir(parents=True)
            for file in sorted((source / digit).iterdir())[start:stop]:
                shutil.copy(file, target)
        return tmp_path / name

    return DigitFolders(
        evaluation=take(digits.evaluation, "evaluation", 0, 20),
        first=take(digits.first, "first", 0, 60),
        later=take(digits.first, "later", 60, 100),
    )


@pytest.fixture
def workspace(settings: Settings, mlflow_uri: str) -> Iterator[Workspace]:
    """A small deployment: retraining is due at 100 new images."""
    small = settings.model_copy(
        update={"mlflow_tracking_uri": mlflow_uri, "new_images_threshold": 100, "snapshot_size": 200}
    )
    with open_workspace(small) as opened:
        yield opened


@pytest.fixture
def filled_workspace(workspace: Workspace, few_digits: DigitFolders) -> Workspace:
    """The evaluation set and the first pool are in."""
    ingest_folder(workspace.catalog, few_digits.evaluation, "evaluation")
    ingest_folder(workspace.catalog, few_digits.first, "pool")
    return workspace
