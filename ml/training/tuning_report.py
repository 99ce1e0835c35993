"""Log a search to MLflow: one run with its figures, its trials and their plots."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.app import Workspace
from ml.catalog.models.attempts import Attempt
from ml.figures import fold_metric
from ml.registry.mlflow_registry import ATTEMPT_TAG
from ml.registry.mlflow_runs import TUNING_EXPERIMENT
from ml.training.study import ERROR, VALIDATION_LOSS
from ml.training.study_plots import save_importances, save_parallel_coordinates

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


def log_study(workspace: Workspace, attempt: Attempt, study: "Study", best: "FrozenTrial") -> None:
    """Log a search to an MLflow run.

    Args: best, the chosen trial.
    """
    trials, main = study.get_trials(deepcopy=False), fold_metric("validation", workspace.task.main_figure)
    states = Counter(trial.state.name.lower() for trial in trials)
    tags = {ATTEMPT_TAG: str(attempt.id), "snapshot_id": str(attempt.snapshot_id), "best_trial": str(best.number)}
    with workspace.registry.run(TUNING_EXPERIMENT, f"attempt-{attempt.id}", tags) as run:
        run.log_parameters({**attempt.parameters, **best.params})
        run.log_metrics({f"trials_{state}": states[state] for state in ("complete", "pruned", "fail")})
        run.log_metrics({main: best.value or 0.0, "validation_loss": best.user_attrs[VALIDATION_LOSS]})
        run.log_report("trials.json", {"trials": [_describe(trial, main) for trial in trials]})
        with tempfile.TemporaryDirectory() as folder:
            coordinates, importances = Path(folder) / "parallel_coordinates.png", Path(folder) / "importances.png"
            save_parallel_coordinates(study, main, coordinates)
            save_importances(study, main, importances)
            run.log_picture(coordinates)
            run.log_picture(importances)


def _describe(trial: "FrozenTrial", main: str) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        main: trial.value if trial.state.name == "COMPLETE" else None,
        "validation_loss": trial.user_attrs.get(VALIDATION_LOSS),
        "epochs": trial.last_step,
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "error": trial.user_attrs.get(ERROR),
        **trial.params,
    }
