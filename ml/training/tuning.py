"""Tuning: many heads trained on the same features, one after the other, by as many workers as there are.

A worker takes the study's next trial until the study has had as many as were asked for. What a trial is worth is its
head's accuracy on the validation fold; the evaluation set is not looked at.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ml.app import Workspace
from ml.backbones.keras_backend import load_keras
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.views import training_views
from ml.catalog.models.attempts import Attempt
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.deadlines import Deadline
from ml.progress import EpochProgress, StepProgress
from ml.training.chosen_backbone import ensure_backbone, start_version
from ml.training.head_fitting import Folds, fit_folds, read_folds
from ml.training.search_space import defaults, suggest, to_record
from ml.training.study import ERROR, REPORTED_EPOCHS, VALIDATION_LOSS, best_trial, count_begun, open_study
from ml.training.tuning_report import log_study

if TYPE_CHECKING:
    from optuna import Trial

logger = logging.getLogger(__name__)


def run_trials(workspace: Workspace, attempt: Attempt, on_step: StepProgress | None = None) -> int:
    """Be one worker of an attempt's search: run trials until it has as many as were asked for.

    A trial that fails is recorded as failed, and so is one whose worker died; the search goes on.

    Args:
        attempt: its parameters are those of a TuneParameters, recorded.
        on_step: called with ("backbone", "features" or "search", done, total).
    Returns: how many trials this worker ran.
    Raises: WeightsError; DatabaseUnavailableError.
    """
    tell = on_step or (lambda _step, _done, _total: None)
    with workspace.catalog.begin() as connection:
        snapshot = load_snapshot(connection, attempt.snapshot_id)
    objective = _Objective.of(workspace, attempt, snapshot, tell)
    objective.folds(False)  # what every trial needs is no part of the first one
    wanted, ran = int(str(attempt.parameters["trials"])), 0
    with open_study(workspace.catalog, attempt.request_key, defaults(objective.may_mirror)) as study:
        while (begun := count_begun(study)) < wanted:
            tell("search", begun, wanted)
            study.optimize(objective, n_trials=1, catch=(Exception,))
            ran += 1
    tell("search", wanted, wanted)
    return ran


def choose_hyperparameters(workspace: Workspace, attempt: Attempt) -> dict[str, object]:
    """End an attempt's search: write it into an MLflow run, and say what was best.

    Returns: what to record with the attempt.
    Raises: TrainingError, no trial ended with a result.
    """
    with open_study(workspace.catalog, attempt.request_key, defaults(_may_mirror(attempt))) as study:
        best = best_trial(study)
        log_study(workspace, attempt, study, best)
    logger.info("Trial %d is the best: accuracy %.3f with %s.", best.number, best.value, best.params)
    return to_record(best.params)


@dataclass(frozen=True)
class _Objective:
    """What Optuna calls for each trial.

    Args:
        folds: by whether the training fold is seen mirrored too.
        seed: of each head: trials differ in nothing but what is searched.
        budget_seconds: of one trial.
        may_mirror: mirrored images are worth a try.
    """

    folds: Callable[[bool], Folds]
    seed: int
    budget_seconds: float
    may_mirror: bool

    @classmethod
    def of(cls, workspace: Workspace, attempt: Attempt, snapshot: Snapshot, tell: StepProgress) -> "_Objective":
        start = start_version(workspace, attempt)
        served = ensure_backbone(workspace, snapshot, start, lambda done, total: tell("backbone", done, total))
        tell("backbone", 1, 1)
        backbone = OnnxBackbone(served.onnx)

        @cache
        def folds(is_mirrored: bool) -> Folds:
            views = training_views(is_mirrored)
            return read_folds(
                workspace.catalog, backbone, snapshot, views, lambda done, total: tell("features", done, total)
            )

        return cls(
            folds=folds,
            seed=int(str(attempt.parameters["seed"])),
            budget_seconds=workspace.settings.training_budget_minutes * 60,
            may_mirror=_may_mirror(attempt),
        )

    def __call__(self, trial: "Trial") -> float:
        try:
            return self._train(trial)
        except Exception as error:
            _note(trial, error)
            raise

    def _train(self, trial: "Trial") -> float:
        hyperparameters, is_mirrored = suggest(trial, self.may_mirror)
        load_keras().utils.clear_session()  # a worker trains hundreds of heads
        head, validation = fit_folds(
            self.folds(is_mirrored), self.seed, Deadline(self.budget_seconds), hyperparameters, _pruning(trial)
        )
        trial.set_user_attr(VALIDATION_LOSS, min(head.history["val_loss"]))
        return validation.accuracy


def _pruning(trial: "Trial") -> EpochProgress:
    from optuna import TrialPruned  # noqa: PLC0415

    def on_epoch(epoch: int, figures: dict[str, float]) -> None:
        if epoch % REPORTED_EPOCHS:
            return
        trial.report(-figures["val_loss"], epoch)
        if trial.should_prune():
            raise TrialPruned(f"A validation loss of {figures['val_loss']:.3f} at epoch {epoch} is above the median.")

    return on_epoch


def _note(trial: "Trial", error: Exception) -> None:
    from optuna import TrialPruned  # noqa: PLC0415

    if not isinstance(error, TrialPruned):
        trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")


def _may_mirror(attempt: Attempt) -> bool:
    return bool(attempt.parameters["mirrored_views"])
