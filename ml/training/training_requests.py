"""What a training may be asked for: checked when it is asked, recorded with the attempt, and read back from there."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from ml.data.selection import NEWEST, Selection, SnapshotRules, parse_selection
from ml.errors import NoChampionError, SettingsError
from ml.settings import Settings

RETRAIN = "retrain"
FINETUNE = "finetune"
TUNE = "tune"
LEARNING_RATE = 1e-5  # of fine-tuning; measured in docs/decisions/0056


@dataclass(frozen=True)
class RetrainParameters:
    """A new head on the backbone as it is.

    Args:
        snapshot_size: images of the selections `newest` and `balanced`, from 2.
        seed: of the initial head, the shuffling and the dropout, from 0.
        base_backbone: take the settings' backbone even where the champion was fine-tuned.
        selection: which pool images, as ml.data.selection reads it: `newest`, `balanced`, `all` or `since:DATE`.
    Raises: SettingsError, one of them is out of range.
    """

    kind: ClassVar[str] = RETRAIN
    snapshot_size: int
    seed: int = 0
    base_backbone: bool = False
    selection: str = str(NEWEST)

    def __post_init__(self) -> None:
        _check(self.snapshot_size, self.seed)
        parse_selection(self.selection)

    def snapshot_rules(self, settings: Settings) -> SnapshotRules:
        """How its snapshot is made."""
        return _rules(self.snapshot_size, settings, parse_selection(self.selection))

    def to_record(self, settings: Settings, champion: int | None) -> dict[str, object]:
        """Everything besides the pool and the champion that decides what a retraining gives."""
        return {
            "kind": self.kind,
            **asdict(self),
            "image_size": settings.image_size,
            "backbone": settings.backbone,
            "weights": settings.weights,
            "precision": settings.model_precision,
            "int8_minimum_agreement": settings.int8_minimum_agreement,
            "mirrored_views": settings.mirrored_views,
        }


@dataclass(frozen=True)
class FinetuneParameters:
    """The last layers of a model's backbone trained further, and a new head on them.

    Args:
        snapshot_size: newest pool images, from 2.
        layers: layers of the backbone to train, counted from the last one back, from 1; `demand_layers` knows the end.
        epochs: times through the training fold, from 1.
        learning_rate: of Adam, above 0, up to 1.
        seed: of the shuffling, the dropout and the head, from 0.
        model_version: the version to start from; the champion when None.
    Raises: SettingsError, one of them is out of range.
    """

    kind: ClassVar[str] = FINETUNE
    snapshot_size: int
    layers: int
    epochs: int
    learning_rate: float = LEARNING_RATE
    seed: int = 0
    model_version: int | None = None

    def __post_init__(self) -> None:
        _check(self.snapshot_size, self.seed)
        if self.layers < 1:
            raise SettingsError(f"layers: expected 1 or more, got {self.layers}.")
        if self.epochs < 1:
            raise SettingsError(f"epochs: expected 1 or more, got {self.epochs}.")
        if not 0 < self.learning_rate <= 1:
            raise SettingsError(f"learning_rate: expected more than 0, up to 1, got {self.learning_rate}.")

    def snapshot_rules(self, settings: Settings) -> SnapshotRules:
        """How its snapshot is made."""
        return _rules(self.snapshot_size, settings, NEWEST)

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
            "kind": self.kind,
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


@dataclass(frozen=True)
class TuneParameters:
    """A search for the hyperparameters of a new head, and the head that comes of the best.

    Args:
        snapshot_size: newest pool images, from 2.
        trials: heads to train in the search, from 1.
        seed: of every trial's initial head, shuffling and dropout, from 0.
    Raises: SettingsError, one of them is out of range.
    """

    kind: ClassVar[str] = TUNE
    snapshot_size: int
    trials: int
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.snapshot_size, self.seed)
        if self.trials < 1:
            raise SettingsError(f"trials: expected 1 or more, got {self.trials}.")

    def snapshot_rules(self, settings: Settings) -> SnapshotRules:
        """How its snapshot is made."""
        return _rules(self.snapshot_size, settings, NEWEST)

    def to_record(self, settings: Settings, champion: int | None) -> dict[str, object]:
        """What the search starts from, the version pinned: its workers and the training after them share a backbone.

        What it chose comes in later, as `hyperparameters` and `mirrored_views`.
        """
        return {
            "kind": self.kind,
            **asdict(self),
            "model_version": champion,
            "image_size": settings.image_size,
            "backbone": settings.backbone,
            "weights": settings.weights,
            "precision": settings.model_precision,
            "mirrored_views": settings.mirrored_views,
        }


def demand_layers(layers: int, tunable: int) -> None:
    """Raises: SettingsError, the backbone to fine-tune has fewer layers that can be trained."""
    if layers > tunable:
        raise SettingsError(f"layers: expected 1 to {tunable}, as many as the model's backbone has, got {layers}.")


TrainingParameters = RetrainParameters | FinetuneParameters | TuneParameters


def _rules(size: int, settings: Settings, selection: Selection) -> SnapshotRules:
    return SnapshotRules(size, settings.validation_ratio, settings.harvest_share, selection)


def _check(snapshot_size: int, seed: int) -> None:
    if snapshot_size < 2:
        raise SettingsError(f"snapshot_size: expected 2 or more, got {snapshot_size}.")
    if not 0 <= seed < 2**32:
        raise SettingsError(f"seed: expected 0 to 4294967295, got {seed}.")
