"""Train a challenger on a pinned snapshot and write everything about it into one MLflow run."""

import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml.app import Workspace
from ml.backbones.served_backbone import ServedBackbone
from ml.catalog.database import Catalog
from ml.catalog.models import cross_fitted_answers
from ml.catalog.models.attempts import Attempt
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.data.evaluation_sets import EvaluationItem, current_evaluation_set
from ml.deadlines import Deadline
from ml.errors import EvaluationSetError
from ml.figures import fold_metric
from ml.progress import StepProgress
from ml.registry.mlflow_runs import DatasetSummary, Run
from ml.tasks.task import CrossFitted, HyperparameterValues, MeasuredOnTraining, TrainedModel, TrainingData
from ml.training import training_plots

# The Keras copy runs at a sixth of ONNX Runtime's speed. This many images measure its accuracy well enough.
COMPARED_IMAGES = 100

PrepareBackbone = Callable[[Snapshot, Run, StepProgress], ServedBackbone]


@dataclass(frozen=True)
class Plan:
    """What the result of a training depends on, besides the snapshot and the backbone.

    Args:
        seed: for every random choice.
        views: names in ml.backbones.views.VIEWS, for the training fold.
        hyperparameters: values that differ from the task's defaults.
    """

    seed: int
    views: Sequence[str]
    hyperparameters: HyperparameterValues = field(default_factory=dict)


def train_challenger(
    workspace: Workspace,
    attempt: Attempt,
    plan: Plan,
    prepare_backbone: PrepareBackbone,
    on_step: StepProgress | None = None,
) -> str:
    """Train a model on the snapshot, and log its files, figures, plots and origin.

    Args:
        attempt: the attempt to train for; its parameters are logged.
        prepare_backbone: returns the backbone to train on.
        on_step: called with ("activations", "tune", "backbone", "features" or "train", done, total).
    Returns: the id of the finished MLflow run.
    Raises: WeightsError, TrainingError, ModelLoadError; then the run is marked as failed.
    """
    started, task = time.monotonic(), workspace.task
    deadline = Deadline(workspace.settings.training_budget_minutes * 60)
    report = on_step or (lambda _step, _done, _total: None)
    with workspace.catalog.begin() as connection:
        snapshot = load_snapshot(connection, attempt.snapshot_id)
    with workspace.registry.start_run(attempt.id) as run:
        served = prepare_backbone(snapshot, run, report)
        report("backbone", 1, 1)
        _log_origin(run, workspace, attempt, snapshot, served)
        hyperparameters = {**task.default_hyperparameters(workspace.settings), **plan.hyperparameters}
        run.log_parameters({f"hyperparameter_{name}": value for name, value in hyperparameters.items()})
        data = TrainingData(workspace.catalog, workspace.settings, snapshot, served, plan.views, plan.seed, report)
        trained = task.prepare_trainer(data).fit(hyperparameters, deadline)
        _log_training(run, trained)
        _save_cross_fitted(workspace.catalog, attempt, trained)
        _log_model(run, trained, _evaluation_sample(workspace.catalog, snapshot.classes), started)
    return run.mlflow_run_id


def _log_origin(run: Run, workspace: Workspace, attempt: Attempt, snapshot: Snapshot, served: ServedBackbone) -> None:
    run.log_parameters({**attempt.parameters, "validation_ratio": workspace.settings.validation_ratio})
    run.log_dataset(_describe(snapshot), "training")
    run.tag(
        {
            "task": workspace.task.name,
            "backbone": served.backbone,
            "backbone_weights": served.weights_recipe,
            "backbone_id": served.backbone_id,
            "precision": served.precision,
            "precision_reason": served.precision_reason,
            "snapshot_id": str(snapshot.id),
        }
    )


def _describe(snapshot: Snapshot) -> DatasetSummary:
    named = [(item.item_id, " and ".join(item.annotation.class_names), item.fold) for item in snapshot.items]
    counts = Counter(f"{name} {fold}" for _, name, fold in named)
    return DatasetSummary(
        name=f"snapshot-{snapshot.id}",
        digest=hashlib.sha256(repr(named).encode()).hexdigest(),
        profile={"images": len(snapshot.items), "cutoff": snapshot.cutoff.isoformat(), **dict(sorted(counts.items()))},
    )


def _log_training(run: Run, trained: TrainedModel) -> None:
    figures = trained.figures
    run.log_history(trained.history)
    run.log_metrics({fold_metric("validation", name): value for name, value in figures.shares.items()})
    if isinstance(trained, MeasuredOnTraining):
        learned = trained.training_figures.shares
        run.log_metrics({fold_metric("training", name): value for name, value in learned.items()})
    report = {**figures.shares, "per_class": figures.per_class, "confusion": figures.confusion}
    run.log_report("validation_report.json", report)
    with tempfile.TemporaryDirectory() as folder:
        pictures = list(trained.draw(Path(folder)))
        if trained.history:
            curves = Path(folder) / "learning_curves.png"
            training_plots.save_learning_curves(trained.history, curves)
            pictures.append(curves)
        for picture in pictures:
            run.log_picture(picture)


def _save_cross_fitted(catalog: Catalog, attempt: Attempt, trained: TrainedModel) -> None:
    if isinstance(trained, CrossFitted):
        with catalog.begin() as connection:
            cross_fitted_answers.save_cross_fitted(connection, attempt.id, trained.cross_fitted)


def _log_model(run: Run, trained: TrainedModel, sample: Sequence[EvaluationItem], started: float) -> None:
    """Log the model last: MLflow marks the run as finished when it gets a model, and a retry reuses a finished run."""
    with tempfile.TemporaryDirectory() as folder:
        files = trained.write(Path(folder), sample)
        run.tag(files.tags)
        run.log_metrics({**files.metrics, "training_seconds": time.monotonic() - started})
        run.log_model(Path(folder))


def _evaluation_sample(catalog: Catalog, classes: Sequence[str]) -> list[EvaluationItem]:
    """Return some items of the evaluation set: always the same ones for the same version of the set."""
    with catalog.begin() as connection:
        _, members = current_evaluation_set(connection)
    chosen = [each for each in members if each.annotation.is_known(classes)][:COMPARED_IMAGES]
    if not chosen:
        raise EvaluationSetError(
            f"Expected images of the classes {', '.join(map(repr, classes))} in the evaluation set, found none. "
            "Ingest some with `mycoflow ingest DIR --split evaluation`."
        )
    return chosen
