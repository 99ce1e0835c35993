"""What a head's training may be told besides its data. The defaults are those of every ordinary retraining."""

from collections.abc import Mapping
from dataclasses import dataclass

DROPOUT_RATE = 0.2


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


DEFAULTS = Hyperparameters()


def chosen_hyperparameters(parameters: Mapping[str, object]) -> Hyperparameters:
    """Those that a search chose for an attempt; the defaults where none did.

    Args: parameters, the attempt's.
    """
    chosen = parameters.get("hyperparameters")
    return Hyperparameters(**chosen) if isinstance(chosen, dict) else DEFAULTS
