"""Tuning: train many models on the same features. Any number of workers share the trials.

A worker starts trials until the study has the requested number. A trial's value is its model's main figure on the
validation fold. The evaluation set is not used.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from ml.app import Workspace
from ml.catalog.models import attempts
from ml.catalog.models.attempts import Attempt
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.deadlines import Deadline
from ml.errors import CatalogError
from ml.progress import EpochProgress, StepProgress
from ml.settings import Settings
from ml.tasks.task import HyperparameterValues, Task, Trainer, TrainingData, TunableTask, demand_tunable
from ml.training.chosen_backbone import ensure_backbone
from ml.training.recipes import Tune, decode_recipe, encode_recipe
from ml.training.study import ERROR, REPORTED_EPOCHS, VALIDATION_LOSS, best_trial, count_begun, open_study
from ml.training.tuning_report import log_study

if TYPE_CHECKING:
    from optuna import Trial

MIRRORED_VIEWS = "mirrored_views"  # searched in addition to the task's hyperparameters

logger = logging.getLogger(__name__)


def search(workspace: Workspace, attempt: Attempt, on_step: StepProgress | None = None) -> int:
    """Run trials of an attempt's search as one of its workers, until the search has the requested number of trials.

    A trial that fails, or whose worker died, is recorded as failed; the search continues. If the search has ended, do
    nothing.

    Args: on_step, called with ("backbone", "features" or "search", done, total).
    Returns: the number of trials that this worker ran.
    Raises: WeightsError; DatabaseUnavailableError.
    """
    recipe, report = _recipe_of(attempt), on_step or (lambda _step, _done, _total: None)
    if recipe.hyperparameters is not None:
        return 0
    with workspace.catalog.begin() as connection:
        snapshot = load_snapshot(connection, attempt.snapshot_id)
    objective = _Objective.of(workspace, recipe, snapshot, report)
    objective.trainer(False)  # compute the features before the first trial, not in its time
    ran = 0
    with open_study(workspace.catalog, attempt.request_key, objective.first) as study:
        while (begun := count_begun(study)) < recipe.trials:
            report("search", begun, recipe.trials)
            study.optimize(objective, n_trials=1, catch=(Exception,))
            ran += 1
    report("search", recipe.trials, recipe.trials)
    return ran


def end_search(workspace: Workspace, attempt: Attempt) -> None:
    """End an attempt's search: log it to an MLflow run, and store the best hyperparameters with the attempt for good.

    Raises: TrainingError, no trial ended with a result.
    """
    recipe = _recipe_of(attempt)
    if recipe.hyperparameters is not None:
        return
    pinned = recipe.pinned.apply(workspace).settings
    first = first_trial(workspace.task, pinned, recipe.pinned.mirrored_views)
    with open_study(workspace.catalog, attempt.request_key, first) as study:
        best = best_trial(study)
        log_study(workspace, attempt, study, best)
    logger.info("Trial %d is the best: %.3f with %s.", best.number, best.value, best.params)
    with workspace.catalog.begin() as connection:
        parameters = encode_recipe(take_trial(recipe, best.params))
        attempts.update_attempt(connection, attempt.id, parameters=parameters)


def first_trial(task: Task, settings: Settings, may_mirror: bool) -> dict[str, Any]:
    """Return the defaults of a retraining as a trial's parameters. Args: settings, those of the search."""
    return {**task.default_hyperparameters(settings), **({MIRRORED_VIEWS: True} if may_mirror else {})}


def suggest(task: TunableTask, trial: "Trial", may_mirror: bool) -> tuple[HyperparameterValues, bool]:
    """Let Optuna choose the values of a trial.

    Args: may_mirror, mirrored images are valid examples: MYCOFLOW_MIRRORED_VIEWS.
    Returns: hyperparameters, and whether to train on mirrored images too.
    """
    hyperparameters = task.suggest(trial)
    return hyperparameters, may_mirror and trial.suggest_categorical(MIRRORED_VIEWS, (True, False))


def take_trial(recipe: Tune, params: Mapping[str, Any]) -> Tune:
    """Return the recipe with a trial's parameters as the result of its search."""
    hyperparameters = {name: value for name, value in params.items() if name != MIRRORED_VIEWS}
    return recipe.end_search(hyperparameters, params.get(MIRRORED_VIEWS, False))


def _recipe_of(attempt: Attempt) -> Tune:
    recipe = decode_recipe(attempt.parameters)
    if not isinstance(recipe, Tune):
        raise CatalogError(f"Expected a {Tune.kind} request. Request {attempt.request_key} is a {recipe.kind} request.")
    return recipe


@dataclass(frozen=True)
class _Objective:
    """The function that Optuna calls for each trial.

    Args:
        trainer: returns the trainer with or without mirrored images. All trials share data, backbone and seed.
        budget_seconds: time limit of one trial.
        may_mirror: whether mirrored images may be tried.
        first: parameters of the first trial.
    """

    task: TunableTask
    trainer: Callable[[bool], Trainer]
    budget_seconds: float
    may_mirror: bool
    first: Mapping[str, Any]

    @classmethod
    def of(cls, workspace: Workspace, recipe: Tune, snapshot: Snapshot, report: StepProgress) -> "_Objective":
        workspace = recipe.pinned.apply(workspace)
        served = ensure_backbone(workspace, snapshot, recipe.model_version, report)
        report("backbone", 1, 1)

        @cache
        def trainer(is_mirrored: bool) -> Trainer:
            views = replace(recipe.pinned, mirrored_views=is_mirrored).views()
            data = TrainingData(
                workspace.catalog, workspace.settings, snapshot, served, views, recipe.seed, report, is_search=True
            )
            return workspace.task.prepare_trainer(data)

        budget_seconds = workspace.settings.training_budget_minutes * 60
        task, may_mirror = demand_tunable(workspace.task), recipe.pinned.mirrored_views
        return cls(task, trainer, budget_seconds, may_mirror, first_trial(task, workspace.settings, may_mirror))

    def __call__(self, trial: "Trial") -> float:
        try:
            return self._train(trial)
        except Exception as error:
            _record_error(trial, error)
            raise

    def _train(self, trial: "Trial") -> float:
        hyperparameters, is_mirrored = suggest(self.task, trial, self.may_mirror)
        trained = self.trainer(is_mirrored).fit(hyperparameters, Deadline(self.budget_seconds), _pruning(trial))
        trial.set_user_attr(VALIDATION_LOSS, min(trained.history["val_loss"]))
        return trained.figures.main


def _pruning(trial: "Trial") -> EpochProgress:
    from optuna import TrialPruned  # noqa: PLC0415

    def on_epoch(epoch: int, figures: dict[str, float]) -> None:
        if epoch % REPORTED_EPOCHS:
            return
        trial.report(-figures["val_loss"], epoch)
        if trial.should_prune():
            raise TrialPruned(f"A validation loss of {figures['val_loss']:.3f} at epoch {epoch} is above the median.")

    return on_epoch


def _record_error(trial: "Trial", error: Exception) -> None:
    from optuna import TrialPruned  # noqa: PLC0415

    if not isinstance(error, TrialPruned):
        trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
