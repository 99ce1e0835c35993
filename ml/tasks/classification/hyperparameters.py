"""What a head's training may be told besides its data. The defaults are those of every ordinary retraining."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Trial

DROPOUT_RATE = 0.2

# Where a search looks.
LEARNING_RATES = (2e-4, 2e-2)
DROPOUT_RATES = (0.0, 0.6)
WEIGHT_DECAYS = (0.0, 0.5)
BATCH_SIZES = (16, 32, 64, 128)


@dataclass(frozen=True)
class Hyperparameters:
    """Settings of `train_head`.

    Args:
        learning_rate: of Adam, at the start; it falls where the validation loss stands still.
        dropout_rate: share of the features that are hidden in a training step, 0 up to 1.
        weight_decay: decoupled from the loss, as AdamW does it; of the kernel alone.
        batch_size: examples in a training step.
    Source: weight decay, arXiv 1711.05101.
    """

    learning_rate: float = 2e-3
    dropout_rate: float = DROPOUT_RATE
    weight_decay: float = 0.0
    batch_size: int = 64

    @classmethod
    def of(cls, values: Mapping[str, float]) -> "Hyperparameters":
        """Those of these names and values; the defaults of all others."""
        others = {name: value for name, value in values.items() if name != "batch_size"}
        return cls(batch_size=int(values.get("batch_size", cls.batch_size)), **others)


DEFAULTS = Hyperparameters()


def suggest(trial: "Trial") -> dict[str, float]:
    """Let Optuna choose."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", *LEARNING_RATES, log=True),
        "dropout_rate": trial.suggest_float("dropout_rate", *DROPOUT_RATES),
        "weight_decay": trial.suggest_float("weight_decay", *WEIGHT_DECAYS),
        "batch_size": trial.suggest_categorical("batch_size", BATCH_SIZES),
    }
