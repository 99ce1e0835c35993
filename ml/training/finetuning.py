"""Fine-tuning: train the last layers of a version's backbone further. The result is a new backbone."""

import tempfile
from pathlib import Path

from ml.app import Workspace, remember_version
from ml.backbones.registered import find_backbone
from ml.backbones.served_backbone import ServedBackbone, load_served_backbone, make_served_backbone
from ml.catalog.snapshots.stored_snapshots import Snapshot
from ml.deadlines import Deadline
from ml.errors import SettingsError
from ml.figures import fold_metric
from ml.progress import StepProgress
from ml.registry.mlflow_runs import Run
from ml.tasks.task import FinetuningOptions, TrainingData, TunedBackbone, demand_finetunable
from ml.training import training_plots
from ml.training.challenger import Plan

# The rest of the training budget is for quantisation, the features of the new backbone, and its head.
BUDGET_SHARE = 0.8


def finetune_backbone(
    workspace: Workspace,
    snapshot: Snapshot,
    version: int,
    plan: Plan,
    options: FinetuningOptions,
    run: Run,
    on_step: StepProgress,
) -> ServedBackbone:
    """Train the last layers of a version's backbone on a snapshot, and create a served backbone from the result.

    Args:
        run: MLflow run that the figures are logged to.
        on_step: called with ("activations", "tune" or "backbone", done, total).
    Raises: WeightsError, the version's backbone was not created here; SettingsError, it has fewer layers;
        TrainingError.
    """
    catalog, settings = workspace.catalog, workspace.settings
    deadline = Deadline(settings.training_budget_minutes * 60 * BUDGET_SHARE)
    start = load_served_backbone(catalog, remember_version(workspace, version).backbone_id)
    backbone = find_backbone(start.backbone)
    demand_layers(options.layers, len(backbone.tunable_layers))
    data = TrainingData(catalog, settings, snapshot, start, plan.views, plan.seed, on_step)
    tuned = demand_finetunable(workspace.task).finetune(data, options, deadline)
    run.tag({"finetuned_from_version": str(version), "finetuned_from_backbone": start.backbone_id})
    _log_training(run, workspace.task.main_figure, tuned)
    return make_served_backbone(
        catalog,
        settings,
        backbone,
        tuned.weights,
        start.image_size,
        snapshot,
        lambda done, total: on_step("backbone", done, total),
    )


def demand_layers(layers: int, tunable: int) -> None:
    """Check the number of layers to fine-tune.

    Raises: SettingsError, the backbone has fewer layers that can be trained.
    """
    if layers > tunable:
        raise SettingsError(f"layers: expected 1 to {tunable}, as many as the model's backbone has, got {layers}.")


def _log_training(run: Run, main_figure: str, tuned: TunedBackbone) -> None:
    run.log_parameters({"cut_point": tuned.cut_point})
    run.log_metrics(
        {fold_metric("validation", f"{main_figure}_before"): tuned.before.main, "activations_mb": tuned.activations_mb},
    )
    run.log_history({f"tail_{name}": values for name, values in tuned.history.items()})
    with tempfile.TemporaryDirectory() as folder:
        curves = Path(folder) / "tail_learning_curves.png"
        training_plots.save_learning_curves(tuned.history, curves, tuned.kept_epoch)
        run.log_picture(curves)
