"""The time for a new model, from the command to its registration, compared with plain Keras.

Each time is that of a whole process: imports, reading images, training, evaluation, saving.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import sqlalchemy as sa
from PIL import Image

from benchmarks.apart import apart
from benchmarks.bench_settings import BenchSettings
from benchmarks.dataset import Dataset, write_changed
from benchmarks.deployment import Deployment
from benchmarks.intervals import accuracy_figures
from benchmarks.recipe import PUBLISHED_EPOCHS, KerasRun, train_on_features, train_recipe
from ml import cycle
from ml.app import open_workspace
from ml.catalog.models.model_versions import load_model_version
from ml.catalog.snapshots.stored_snapshots import load_snapshot
from ml.catalog.tables import features
from ml.data.selection import SnapshotRules
from ml.data.snapshot_rules import create_snapshot
from ml.evaluation.scoring import deciding_evaluation
from ml.settings import Settings
from ml.training.chosen_backbone import ensure_backbone

_QUICK_EPOCHS = 2
# The images that arrive before each warm retraining: rotated copies, with other bytes each time.
_TURNS = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180)


def measure_training(
    deployment: Deployment, dataset: Dataset, settings: BenchSettings, folder: Path
) -> dict[str, float]:
    """Measure the specification's recipe, training on features in plain Keras, and Mycoflow cold and warm.

    Args:
        deployment: a deployment with the dataset and without a model; afterwards it has one in production.
        folder: a folder for the images that arrive later.
    """
    figures = {"quantise_seconds": apart(make_backbone, deployment.settings())}
    figures |= _measure_cold(deployment, settings.repeats)
    figures |= _measure_warm(deployment, dataset, settings.repeats, folder)
    figures |= _measure_features(dataset, settings)
    return figures | _measure_recipe(dataset, settings)


def describe_champion(deployment: Deployment) -> str | None:
    """Return version and precision of the model in production; None without one."""
    with open_workspace(deployment.settings()) as workspace:
        champion = workspace.registry.champion()
        if champion is None:
            return None
        with workspace.catalog.begin() as connection:
            return f"version {champion}, {load_model_version(connection, champion).precision}"


def evaluate_champion(deployment: Deployment) -> dict[str, float]:
    """Return the accuracy of the model in production on the evaluation set, with its interval."""
    with open_workspace(deployment.settings()) as workspace:
        deciding = deciding_evaluation(cycle.evaluate(workspace))
    return accuracy_figures("retrain", round(deciding.main_figure * deciding.image_count), deciding.image_count)


def make_backbone(settings: Settings) -> float:
    """Make the served backbone, as the first retraining does: export, calibrate, quantise, compare.

    Returns: the seconds that it took, without imports.
    """
    rules = SnapshotRules(settings.snapshot_size, settings.validation_ratio, settings.harvest_share)
    with open_workspace(settings) as workspace:
        with workspace.catalog.begin() as connection:
            snapshot = load_snapshot(connection, create_snapshot(connection, rules, None))
        began = time.perf_counter()
        ensure_backbone(workspace, snapshot, start=None)
        return time.perf_counter() - began


def _measure_cold(deployment: Deployment, repeats: int) -> dict[str, float]:
    seconds = []
    for _ in range(repeats):
        _forget_features(deployment)
        seconds.append(deployment.run("retrain").seconds)
    return {"retrain_cold_seconds": median(seconds), **evaluate_champion(deployment)}


def _measure_warm(deployment: Deployment, dataset: Dataset, repeats: int, folder: Path) -> dict[str, float]:
    seconds = []
    for turn in _TURNS[:repeats]:
        arrived = folder / turn.name
        write_changed(dataset.initial, arrived, turn)
        deployment.run("ingest", str(arrived), "--split", "pool")
        seconds.append(deployment.run("retrain").seconds)
    return {"retrain_warm_seconds": median(seconds)}


def _measure_features(dataset: Dataset, settings: BenchSettings) -> dict[str, float]:
    runs = [
        _timed(lambda: apart(train_on_features, dataset, settings.weights, settings.image_size))
        for _ in range(settings.repeats)
    ]
    _, run = runs[0]
    seconds = median(seconds for seconds, _ in runs)
    return {"keras_features_seconds": seconds, **accuracy_figures("keras_features", run.correct, run.count)}


def _measure_recipe(dataset: Dataset, settings: BenchSettings) -> dict[str, float]:
    epochs = _QUICK_EPOCHS if settings.quick else None
    seconds, run = _timed(lambda: apart(train_recipe, dataset, settings.weights, settings.image_size, epochs))
    epoch = median(run.epoch_seconds[1:])  # the first epoch includes tracing TensorFlow's graphs
    figures = {"recipe_epoch_seconds": epoch}
    if settings.quick:
        rest = seconds - sum(run.epoch_seconds)
        return figures | {"recipe_total_seconds": rest + PUBLISHED_EPOCHS * epoch}
    figures |= {"recipe_total_seconds": seconds, "recipe_epochs": len(run.epoch_seconds)}
    return figures | accuracy_figures("recipe", run.correct, run.count)


def _timed(work: Callable[[], KerasRun]) -> tuple[float, KerasRun]:
    began = time.perf_counter()
    run = work()
    return time.perf_counter() - began, run


def _forget_features(deployment: Deployment) -> None:
    with open_workspace(deployment.settings()) as workspace, workspace.catalog.begin() as connection:
        connection.execute(sa.delete(features))
