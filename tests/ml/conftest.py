"""A deployment of its own for each test that plays a night: real PostgreSQL, real MLflow, digits at 32x32."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ml import cycle
from ml.app import Workspace, open_workspace
from ml.ingest.digits import DigitFolders, write_digits
from ml.ingest.folder import ingest_folder
from ml.training.recipes import Retrain
from tests.deployments import Origin, copy_deployment, drop_deployment, fill_deployment
from tests.ml.image_rows import add_images
from tests.ml.trained_digits import (
    backbone,
    backbone_onnx,
    bundle,
    card,
    digit_images,
    head,
    int8_backbone,
    mlflow_server,
    registry,
    run_python,
    small_digits,
    train,
    training_fold,
    unseen,
    validation_fold,
    weights,
)

# Fixtures for all tests of ml: pytest finds them by their names here.
__all__ = [
    "add_images",
    "backbone",
    "backbone_onnx",
    "bundle",
    "card",
    "digit_images",
    "head",
    "int8_backbone",
    "mlflow_server",
    "registry",
    "run_python",
    "small_digits",
    "train",
    "training_fold",
    "unseen",
    "validation_fold",
    "weights",
]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> DigitFolders:
    return write_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def few_digits(digits: DigitFolders, tmp_path_factory: pytest.TempPathFactory) -> DigitFolders:
    """Three classes, 20 + 60 + 40 images each: enough to learn from, quick to run."""
    folder = tmp_path_factory.mktemp("few-digits")

    def take(source: Path, name: str, start: int, stop: int) -> Path:
        for digit in ("0", "1", "2"):
            target = folder / name / digit
            target.mkdir(parents=True)
            for file in sorted((source / digit).iterdir())[start:stop]:
                shutil.copy(file, target)
        return folder / name

    return DigitFolders(
        evaluation=take(digits.evaluation, "evaluation", 0, 20),
        first=take(digits.first, "first", 0, 60),
        later=take(digits.first, "later", 60, 100),
    )


@pytest.fixture(scope="session")
def empty(catalog_template: str, mlflow_template: str) -> Origin:
    """A deployment as it is installed."""
    return Origin(catalog_template, mlflow_template)


@pytest.fixture(scope="session")
def filled(
    empty: Origin, few_digits: DigitFolders, server_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Origin:
    """The evaluation set and the first pool are in."""

    def fill(workspace: Workspace) -> None:
        ingest_folder(workspace.catalog, few_digits.evaluation, "evaluation")
        ingest_folder(workspace.catalog, few_digits.first, "pool")

    settings = copy_deployment(empty, server_home, tmp_path_factory.mktemp("filled") / "home")
    return fill_deployment(settings, server_home, fill)


@pytest.fixture(scope="session")
def trained_once(filled: Origin, server_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """The first model was trained and promoted."""

    def train(workspace: Workspace) -> None:
        assert cycle.retrain(workspace, "first", "test", Retrain(200)).production_version == 1

    settings = copy_deployment(filled, server_home, tmp_path_factory.mktemp("trained") / "home")
    return fill_deployment(settings, server_home, train)


@pytest.fixture(scope="session")
def judged_once(trained_once: Origin, server_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """A second attempt, `second`, was trained and judged good enough; nothing was done about it yet."""

    def judge(workspace: Workspace) -> None:
        attempt_id = cycle.take_snapshot(workspace, "second", "test", Retrain(200))
        cycle.train(workspace, attempt_id)
        cycle.register(workspace, attempt_id)
        cycle.evaluate_challenger(workspace, attempt_id)
        assert cycle.decide(workspace, attempt_id).decision == "promote"

    settings = copy_deployment(trained_once, server_home, tmp_path_factory.mktemp("judged") / "home")
    return fill_deployment(settings, server_home, judge)


@pytest.fixture
def opened(server_home: Path, tmp_path: Path) -> Iterator[Callable[[Origin], Workspace]]:
    """Opens a small deployment of the test's own, a copy of another."""
    with ExitStack() as stack:

        def open_copy(origin: Origin) -> Workspace:
            settings = copy_deployment(origin, server_home, tmp_path / "home")
            stack.callback(drop_deployment, settings, server_home)
            return stack.enter_context(open_workspace(settings))

        yield open_copy


@pytest.fixture
def workspace(opened: Callable[[Origin], Workspace], empty: Origin) -> Workspace:
    """Nothing is in."""
    return opened(empty)


@pytest.fixture
def filled_workspace(opened: Callable[[Origin], Workspace], filled: Origin) -> Workspace:
    """The evaluation set and the first pool are in."""
    return opened(filled)


@pytest.fixture
def trained(opened: Callable[[Origin], Workspace], trained_once: Origin) -> Workspace:
    """And version 1 is in production."""
    return opened(trained_once)


@pytest.fixture
def judged(opened: Callable[[Origin], Workspace], judged_once: Origin) -> Workspace:
    """And the attempt `second` is judged good enough to be version 2's promotion."""
    return opened(judged_once)
