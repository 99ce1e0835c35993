"""The run of a training tells how well the model knows what it learned, beside what it did not."""

import pytest
from mlflow import MlflowClient

from ml.app import Workspace, load_version
from ml.catalog.snapshots.stored_snapshots import load_snapshot
from ml.evaluation.scoring import answer_items

NAMES = ("accuracy", "precision_macro", "recall_macro", "f1_macro")


def test_a_training_logs_the_same_figures_on_both_folds(trained: Workspace) -> None:
    (version,) = trained.registry.versions()
    metrics = MlflowClient(trained.settings.mlflow_tracking_uri).get_run(version.mlflow_run_id).data.metrics
    folds = {fold: {name: metrics[f"{fold}_{name}"] for name in NAMES} for fold in ("training", "validation")}
    assert all(0 <= value <= 1 for figures in folds.values() for value in figures.values())
    with trained.catalog.begin() as connection:
        snapshot = load_snapshot(connection, 1)
    learned = [item for item in snapshot.items if item.fold == "train"]
    ids = [item.item_id for item in learned]
    answers = answer_items(trained.catalog, trained.task, 1, ids, lambda: load_version(trained, 1))
    truth = [item.annotation for item in learned]
    expected = trained.task.measure(truth, [answers[each] for each in ids], snapshot.classes)
    assert folds["training"] == pytest.approx({name: expected.shares[name] for name in NAMES}, abs=0.02)
