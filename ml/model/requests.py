"""What a training may be asked for: checked when it is asked, recorded with the attempt, and read back from there."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from ml.errors import NoChampionError, SettingsError
from ml.model.architecture import layer_names
from ml.settings import Settings

RETRAIN = "retrain"
FINETUNE = "finetune"
LEARNING_RATE = 1e-5  # of fine-tuning; measured in docs/decisions/0056


@dataclass(frozen=True)
class RetrainParameters:
    """A new head on the trunk as it is.

    Args:
        snapshot_size: newest pool images, from 2.
        seed: of the initial head, the shuffling and the dropout, from 0.
        base_trunk: take the settings' trunk even where the champion was fine-tuned.
    Raises: SettingsError, one of them is out of range.
    """

    snapshot_size: int
    seed: int = 0
    base_trunk: bool = False

    def __post_init__(self) -> None:
        _check(self.snapshot_size, self.seed)

    def to_record(self, settings: Settings, champion: int | None) -> dict[str, object]:
        """Everything besides the pool and the champion that decides what a retraining gives."""
        return {
            "kind": RETRAIN,
            **asdict(self),
            "image_size": settings.image_size,
            "trunk_weights": settings.trunk_weights,
            "precision": settings.model_precision,
            "int8_minimum_agreement": settings.int8_minimum_agreement,
            "mirrored_views": settings.mirrored_views,
        }


@dataclass(frozen=True)
class FinetuneParameters:
    """The last convolutions of a model's trunk trained further, and a new head on them.

    Args:
        snapshot_size: newest pool images, from 2.
        layers: convolutions to train, counted from the last one back, 1 to 13.
        epochs: times through the training fold, from 1.
        learning_rate: of Adam, above 0, up to 1.
        seed: of the shuffling, the dropout and the head, from 0.
        model_version: the version to start from; the champion when None.
    Raises: SettingsError, one of them is out of range.
    """

    snapshot_size: int
    layers: int
    epochs: int
    learning_rate: float = LEARNING_RATE
    seed: int = 0
    model_version: int | None = None

    def __post_init__(self) -> None:
        _check(self.snapshot_size, self.seed)
        if not 1 <= self.layers <= len(layer_names()):
            raise SettingsError(f"layers: expected 1 to {len(layer_names())}, got {self.layers}.")
        if self.epochs < 1:
            raise SettingsError(f"epochs: expected 1 or more, got {self.epochs}.")
        if not 0 < self.learning_rate <= 1:
            raise SettingsError(f"learning_rate: expected more than 0, up to 1, got {self.learning_rate}.")

    def to_record(self, settings: Settings, champion: int | None) -> dict[str, object]:
        """All of it, with the version to start from pinned: a retry starts from the same one.

        Raises: NoChampionError, no version was named and there is no champion.
        """
        start = self.model_version if self.model_version is not None else champion
        if start is None:
            raise NoChampionError(
                "Expected a model to fine-tune, found none in production. Train one with `mycoflow retrain`."
            )
        return {
            "kind": FINETUNE,
            **asdict(self),
            "model_version": start,
            "precision": settings.model_precision,
            "int8_minimum_agreement": settings.int8_minimum_agreement,
            "mirrored_views": settings.mirrored_views,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> "FinetuneParameters":
        """Read back what `to_record` made."""
        return cls(**{field.name: record[field.name] for field in fields(cls)})  # type: ignore[arg-type]


def _check(snapshot_size: int, seed: int) -> None:
    if snapshot_size < 2:
        raise SettingsError(f"snapshot_size: expected 2 or more, got {snapshot_size}.")
    if not 0 <= seed < 2**32:
        raise SettingsError(f"seed: expected 0 to 4294967295, got {seed}.")
