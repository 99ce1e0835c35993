"""The hyperparameters of a head's training. A retraining uses the defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Trial

DROPOUT_RATE = 0.2

# The ranges of a search.
LEARNING_RATES = (2e-4, 2e-2)
DROPOUT_RATES = (0.0, 0.6)
WEIGHT_DECAYS = (0.0, 0.5)
BATCH_SIZES = (16, 32, 64, 128)


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of `train_head`.

    Args:
        learning_rate: Adam's initial learning rate; it is reduced when the validation loss stops falling.
        dropout_rate: share of the features that are dropped in a training step, from 0 to below 1.
        weight_decay: decoupled weight decay, as in AdamW; only the kernel has it.
        batch_size: number of examples in a training step.
    Source: weight decay, arXiv 1711.05101.
    """

    learning_rate: float = 2e-3
    dropout_rate: float = DROPOUT_RATE
    weight_decay: float = 0.0
    batch_size: int = 64

    @classmethod
    def of(cls, values: Mapping[str, float]) -> "Hyperparameters":
        """Return hyperparameters with these values, and the defaults for all others."""
        others = {name: value for name, value in values.items() if name != "batch_size"}
        return cls(batch_size=int(values.get("batch_size", cls.batch_size)), **others)


DEFAULTS = Hyperparameters()


def suggest(trial: "Trial") -> dict[str, float]:
    """Let Optuna choose hyperparameters."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", *LEARNING_RATES, log=True),
        "dropout_rate": trial.suggest_float("dropout_rate", *DROPOUT_RATES),
        "weight_decay": trial.suggest_float("weight_decay", *WEIGHT_DECAYS),
        "batch_size": trial.suggest_categorical("batch_size", BATCH_SIZES),
    }
