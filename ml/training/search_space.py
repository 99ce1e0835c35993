"""Where a search looks: the hyperparameters of a head's training, and whether it sees mirrored images."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ml.tasks.classification.hyperparameters import DEFAULTS, Hyperparameters

if TYPE_CHECKING:
    from optuna import Trial

LEARNING_RATES = (2e-4, 2e-2)
DROPOUT_RATES = (0.0, 0.6)
WEIGHT_DECAYS = (0.0, 0.5)
BATCH_SIZES = (16, 32, 64, 128)


def suggest(trial: "Trial", may_mirror: bool) -> tuple[Hyperparameters, bool]:
    """Let Optuna choose.

    Args: may_mirror, mirrored images show what they show: MYCOFLOW_MIRRORED_VIEWS.
    Returns: hyperparameters, and whether the head sees mirrored images too.
    """
    hyperparameters = Hyperparameters(
        learning_rate=trial.suggest_float("learning_rate", *LEARNING_RATES, log=True),
        dropout_rate=trial.suggest_float("dropout_rate", *DROPOUT_RATES),
        weight_decay=trial.suggest_float("weight_decay", *WEIGHT_DECAYS),
        batch_size=trial.suggest_categorical("batch_size", BATCH_SIZES),
    )
    return hyperparameters, may_mirror and trial.suggest_categorical("mirrored_views", (True, False))


def defaults(may_mirror: bool) -> dict[str, Any]:
    """What an ordinary retraining takes, as a trial's parameters."""
    return {**asdict(DEFAULTS), **({"mirrored_views": True} if may_mirror else {})}


def to_record(params: Mapping[str, Any]) -> dict[str, object]:
    """A trial's parameters as an attempt records them: `hyperparameters` and `mirrored_views`."""
    hyperparameters = {name: value for name, value in params.items() if name != "mirrored_views"}
    return {"hyperparameters": hyperparameters, "mirrored_views": params.get("mirrored_views", False)}
