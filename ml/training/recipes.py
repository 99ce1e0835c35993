"""What a training may be: asked for, pinned with the attempt, stored as JSON, and run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import ClassVar

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError

from ml.app import Workspace
from ml.backbones.served_backbone import count_tunable_layers
from ml.backbones.views import training_views
from ml.catalog.models.attempts import Attempt
from ml.data.selection import NEWEST, Selection, SnapshotRules, parse_selection
from ml.errors import CatalogError, NoChampionError, SettingsError
from ml.progress import StepProgress
from ml.settings import Settings
from ml.tasks.base import TailOptions, Task, demand_finetunable, demand_tunable
from ml.training.challenger import Plan, train_challenger
from ml.training.chosen_backbone import ensure_backbone
from ml.training.finetuning import demand_layers, finetune_backbone

RETRAIN = "retrain"
FINETUNE = "finetune"
TUNE = "tune"
LEARNING_RATE = 1e-5  # of fine-tuning; measured in docs/decisions/0056


@dataclass(frozen=True)
class Pinned:
    """What the settings said when a training was asked for. Its steps go by that, whatever they say meanwhile."""

    mirrored_views: bool = False
    precision: str | None = None
    image_size: int | None = None
    backbone: str | None = None
    weights: str | None = None
    int8_minimum_agreement: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Pinned":
        """What they say now."""
        return cls(
            mirrored_views=settings.mirrored_views,
            precision=settings.model_precision,
            image_size=settings.image_size,
            backbone=settings.backbone,
            weights=settings.weights,
            int8_minimum_agreement=settings.int8_minimum_agreement,
        )


NOTHING_PINNED = Pinned()


@dataclass(frozen=True)
class Retrain:
    """A new head on the backbone as it is.

    Args:
        snapshot_size: images of the selections `newest` and `balanced`, from 2.
        seed: of the initial head, the shuffling and the dropout, from 0.
        base_backbone: take the settings' backbone even where the champion was fine-tuned.
        selection: which pool images, as ml.data.selection reads it: `newest`, `balanced`, `all` or `since:DATE`.
        pinned: filled in by `pin`.
    Raises: SettingsError, one of them is out of range.
    """

    kind: ClassVar[str] = RETRAIN
    snapshot_size: int
    seed: int = 0
    base_backbone: bool = False
    selection: str = str(NEWEST)
    pinned: Pinned = NOTHING_PINNED

    def __post_init__(self) -> None:
        _check(self.snapshot_size, self.seed)
        parse_selection(self.selection)

    def snapshot_rules(self, settings: Settings) -> SnapshotRules:
        """How its snapshot is made."""
        return _rules(self.snapshot_size, settings, parse_selection(self.selection))

    def pin(self, settings: Settings, _champion: int | None) -> "Retrain":
        """Add everything besides the pool and the champion that decides what a retraining gives."""
        return replace(self, pinned=Pinned.of(settings))

    def check(self, connection: sa.Connection) -> None:
        """Nothing more than its own values."""

    def run(self, workspace: Workspace, attempt: Attempt, on_step: StepProgress | None = None) -> str:
        """Train a challenger. Returns: the MLflow run's id; the run is finished."""
        start = None if self.base_backbone else workspace.registry.champion()
        plan = Plan(self.seed, training_views(self.pinned.mirrored_views))
        return train_challenger(
            workspace,
            attempt,
            plan,
            lambda snapshot, _run, tell: ensure_backbone(workspace, snapshot, start, tell),
            on_step,
        )


@dataclass(frozen=True)
class Finetune:
    """The last layers of a model's backbone trained further, and a new head on them.

    Args:
        snapshot_size: newest pool images, from 2.
        layers: layers of the backbone to train, counted from the last one back, from 1; `check` knows the end.
        epochs: times through the training fold, from 1.
        learning_rate: of Adam, above 0, up to 1.
        seed: of the shuffling, the dropout and the head, from 0.
        model_version: the version to start from; `pin` fills the champion in when None.
        pinned: filled in by `pin`.
    Raises: SettingsError, one of them is out of range.
    """

    kind: ClassVar[str] = FINETUNE
    snapshot_size: int
    layers: int
    epochs: int
    learning_rate: float = LEARNING_RATE
    seed: int = 0
    model_version: int | None = None
    pinned: Pinned = NOTHING_PINNED

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

    def pin(self, settings: Settings, champion: int | None) -> "Finetune":
        """Add the version to start from: a retry starts from the same one.

        Raises: NoChampionError, no version was named and there is no champion.
        """
        return replace(self, model_version=_demand_start(self.model_version, champion), pinned=Pinned.of(settings))

    def check(self, connection: sa.Connection) -> None:
        """Refuse more layers than the backbone has. One that was not made here is refused by the training.

        Raises: SettingsError.
        """
        tunable = count_tunable_layers(connection, _demand_start(self.model_version, None))
        if tunable is not None:
            demand_layers(self.layers, tunable)

    def run(self, workspace: Workspace, attempt: Attempt, on_step: StepProgress | None = None) -> str:
        """Train a challenger. Returns: the MLflow run's id; the run is finished."""
        start = _demand_start(self.model_version, None)
        plan = Plan(self.seed, training_views(self.pinned.mirrored_views))
        options = TailOptions(self.layers, self.epochs, self.learning_rate)
        return train_challenger(
            workspace,
            attempt,
            plan,
            lambda snapshot, run, tell: finetune_backbone(workspace, snapshot, start, plan, options, run, tell),
            on_step,
        )


@dataclass(frozen=True)
class Tune:
    """A search for the hyperparameters of a new head, and the head that comes of the best.

    Args:
        snapshot_size: newest pool images, from 2.
        trials: heads to train in the search, from 1.
        seed: of every trial's initial head, shuffling and dropout, from 0.
        model_version: filled in by `pin`: the search's workers and the training after them share a backbone.
        hyperparameters: what the search chose; None before that.
        pinned: filled in by `pin`; the search decides about mirrored views.
    Raises: SettingsError, one of them is out of range.
    """

    kind: ClassVar[str] = TUNE
    snapshot_size: int
    trials: int
    seed: int = 0
    model_version: int | None = None
    hyperparameters: dict[str, int | float] | None = None
    pinned: Pinned = NOTHING_PINNED

    def __post_init__(self) -> None:
        _check(self.snapshot_size, self.seed)
        if self.trials < 1:
            raise SettingsError(f"trials: expected 1 or more, got {self.trials}.")

    def snapshot_rules(self, settings: Settings) -> SnapshotRules:
        """How its snapshot is made."""
        return _rules(self.snapshot_size, settings, NEWEST)

    def pin(self, settings: Settings, champion: int | None) -> "Tune":
        """Add the version to start from."""
        return replace(self, model_version=champion, pinned=Pinned.of(settings))

    def check(self, connection: sa.Connection) -> None:
        """Nothing more than its own values."""

    def end_search(self, hyperparameters: Mapping[str, int | float], is_mirrored: bool) -> "Tune":
        """What the search chose."""
        pinned = replace(self.pinned, mirrored_views=is_mirrored)
        return replace(self, hyperparameters=dict(hyperparameters), pinned=pinned)

    def run(self, workspace: Workspace, attempt: Attempt, on_step: StepProgress | None = None) -> str:
        """Train a challenger with what the search chose. Returns: the MLflow run's id; the run is finished."""
        plan = Plan(self.seed, training_views(self.pinned.mirrored_views), self.hyperparameters or {})
        return train_challenger(
            workspace,
            attempt,
            plan,
            lambda snapshot, _run, tell: ensure_backbone(workspace, snapshot, self.model_version, tell),
            on_step,
        )


Recipe = Retrain | Finetune | Tune

_ADAPTERS: dict[str, TypeAdapter[Recipe]] = {each.kind: TypeAdapter(each) for each in (Retrain, Finetune, Tune)}
_NOT_ASKED_FOR = ("hyperparameters", "pinned")


def encode_recipe(recipe: Recipe) -> dict[str, object]:
    """Make JSON of a recipe: one flat object."""
    values = asdict(recipe)
    pinned = values.pop("pinned")
    return {"kind": recipe.kind, **values, **pinned}


def decode_recipe(record: Mapping[str, object]) -> Recipe:
    """Read what `encode_recipe` made.

    Raises: CatalogError, it is something else.
    """
    try:
        return _ADAPTERS[str(record.get("kind", RETRAIN))].validate_python({**record, "pinned": record})
    except (KeyError, ValidationError) as error:
        raise CatalogError(
            f"Expected the stored parameters of a training. Received: {dict(record)}. "
            "They are of another release; ask for the training again, with another key."
        ) from error


def demand_recipe(task: Task, recipe: Recipe) -> None:
    """Raises: SettingsError, the task has no such training."""
    match recipe:
        case Finetune():
            demand_finetunable(task)
        case Tune():
            demand_tunable(task)


def demand_same_request(request_key: str, found: Recipe, asked: Recipe) -> None:
    """Refuse a key that stands for another training. What was not asked for is as the attempt has it.

    Raises: SettingsError.
    """
    if found.kind != asked.kind:
        raise SettingsError(
            f"Expected the key of a {asked.kind} request. Received: {request_key}, of a {found.kind} request. "
            f"Go on with `mycoflow {found.kind}`, or take another key."
        )
    began, now = options_of(found), options_of(asked)
    other = [name for name, value in now.items() if value is not None and began[name] != value]
    if other:
        raise SettingsError(
            f"Expected the options that request {request_key} began with: "
            f"{', '.join(f'{name} {began[name]}' for name in other)}. "
            f"Received: {', '.join(f'{name} {now[name]}' for name in other)}. "
            "Repeat the former to go on with it, or take another key for a new training."
        )


def options_of(recipe: Recipe) -> dict[str, object]:
    """What may be asked for of a recipe, by name."""
    return {each.name: getattr(recipe, each.name) for each in fields(recipe) if each.name not in _NOT_ASKED_FOR}


def _demand_start(model_version: int | None, champion: int | None) -> int:
    start = model_version if model_version is not None else champion
    if start is None:
        raise NoChampionError(
            "Expected a model to fine-tune, found none in production. Train one with `mycoflow retrain`."
        )
    return start


def _rules(size: int, settings: Settings, selection: Selection) -> SnapshotRules:
    return SnapshotRules(size, settings.validation_ratio, settings.harvest_share, selection)


def _check(snapshot_size: int, seed: int) -> None:
    if snapshot_size < 2:
        raise SettingsError(f"snapshot_size: expected 2 or more, got {snapshot_size}.")
    if not 0 <= seed < 2**32:
        raise SettingsError(f"seed: expected 0 to 4294967295, got {seed}.")
