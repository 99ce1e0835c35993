"""Requests for a training: `Retrain`, `Finetune`, `Tune`. Each is stored with its attempt as JSON, and can run."""

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
from ml.settings import HeadSolver, Settings
from ml.tasks.task import FinetuningOptions, Task, demand_finetunable, demand_tunable
from ml.training.challenger import Plan, train_challenger
from ml.training.chosen_backbone import ensure_backbone
from ml.training.finetuning import demand_layers, finetune_backbone

RETRAIN = "retrain"
FINETUNE = "finetune"
TUNE = "tune"
LEARNING_RATE = 1e-5  # for fine-tuning; measured in docs/decisions/0056


@dataclass(frozen=True)
class PinnedSettings:
    """The settings at the time of the request. All steps of the training use them, even if the settings change."""

    mirrored_views: bool = False
    rotated_views: bool = False
    zoomed_views: bool = False
    precision: str | None = None
    image_size: int | None = None
    backbone: str | None = None
    weights: str | None = None
    int8_minimum_agreement: float | None = None
    head_solver: HeadSolver = "adam"  # as in the records of earlier releases, which lack it

    @classmethod
    def of(cls, settings: Settings) -> "PinnedSettings":
        """Copy the values from the current settings."""
        return cls(
            mirrored_views=settings.mirrored_views,
            rotated_views=settings.rotated_views,
            zoomed_views=settings.zoomed_views,
            precision=settings.model_precision,
            image_size=settings.image_size,
            backbone=settings.backbone,
            weights=settings.weights,
            int8_minimum_agreement=settings.int8_minimum_agreement,
            head_solver=settings.head_solver,
        )

    def views(self) -> list[str]:
        """Return the views of the training fold."""
        return training_views(self.mirrored_views, self.rotated_views, self.zoomed_views)

    def apply(self, workspace: Workspace) -> Workspace:
        """Return the workspace with these settings."""
        pinned = {
            "mirrored_views": self.mirrored_views,
            "rotated_views": self.rotated_views,
            "zoomed_views": self.zoomed_views,
            "model_precision": self.precision,
            "image_size": self.image_size,
            "backbone": self.backbone,
            "weights": self.weights,
            "int8_minimum_agreement": self.int8_minimum_agreement,
            "head_solver": self.head_solver,
        }
        return replace(workspace, settings=workspace.settings.model_copy(update=pinned))


NOTHING_PINNED = PinnedSettings()


@dataclass(frozen=True)
class Retrain:
    """Train a new head on an unchanged backbone.

    Args:
        snapshot_size: number of images for the selections `newest` and `balanced`, from 2; None: see `SnapshotRules`.
        seed: for the initial head, the shuffling and the dropout, from 0.
        base_backbone: use the settings' backbone even if the champion's backbone was fine-tuned.
        selection: which pool images, as ml.data.selection reads it: `newest`, `balanced`, `all` or `since:DATE`.
        pinned: set by `pin`.
        Raises: SettingsError, a value is out of range.
    """

    kind: ClassVar[str] = RETRAIN
    snapshot_size: int | None
    seed: int = 0
    base_backbone: bool = False
    selection: str = str(NEWEST)
    pinned: PinnedSettings = NOTHING_PINNED

    def __post_init__(self) -> None:
        _check(self.snapshot_size, self.seed)
        parse_selection(self.selection)

    def snapshot_rules(self, settings: Settings) -> SnapshotRules:
        """Return the rules for its snapshot."""
        return _rules(self.snapshot_size, settings, parse_selection(self.selection))

    def pin(self, settings: Settings, _champion: int | None) -> "Retrain":
        """Add the settings that the result depends on."""
        return replace(self, pinned=PinnedSettings.of(settings))

    def check(self, connection: sa.Connection) -> None:
        """Do nothing: the constructor has checked all values."""

    def run(self, workspace: Workspace, attempt: Attempt, on_step: StepProgress | None = None) -> str:
        """Train a challenger. Returns: the id of the finished MLflow run."""
        start = None if self.base_backbone else workspace.registry.champion()
        plan = Plan(self.seed, self.pinned.views())
        return train_challenger(
            workspace,
            attempt,
            plan,
            lambda snapshot, _run, report: ensure_backbone(workspace, snapshot, start, report),
            on_step,
        )


@dataclass(frozen=True)
class Finetune:
    """Train the last layers of a model's backbone further, and then a new head.

    Args:
        snapshot_size: number of the newest pool images, from 2; None: see `SnapshotRules`.
        layers: number of the backbone's last layers to train, from 1; `check` knows the upper limit.
        epochs: passes over the training fold, from 1.
        learning_rate: for Adam, above 0, up to 1.
        seed: for the shuffling, the dropout and the head, from 0.
        model_version: the version to start from; if None, `pin` sets the champion.
        pinned: set by `pin`.
        Raises: SettingsError, a value is out of range.
    """

    kind: ClassVar[str] = FINETUNE
    snapshot_size: int | None
    layers: int
    epochs: int
    learning_rate: float = LEARNING_RATE
    seed: int = 0
    model_version: int | None = None
    pinned: PinnedSettings = NOTHING_PINNED

    def __post_init__(self) -> None:
        _check(self.snapshot_size, self.seed)
        if self.layers < 1:
            raise SettingsError(f"layers: expected 1 or more, got {self.layers}.")
        if self.epochs < 1:
            raise SettingsError(f"epochs: expected 1 or more, got {self.epochs}.")
        if not 0 < self.learning_rate <= 1:
            raise SettingsError(f"learning_rate: expected more than 0, up to 1, got {self.learning_rate}.")

    def snapshot_rules(self, settings: Settings) -> SnapshotRules:
        """Return the rules for its snapshot."""
        return _rules(self.snapshot_size, settings, NEWEST)

    def pin(self, settings: Settings, champion: int | None) -> "Finetune":
        """Add the settings and the version to start from, so that a retry starts from the same version.

        Raises: NoChampionError, no version was named and there is no champion.
        """
        return replace(
            self, model_version=_demand_start(self.model_version, champion), pinned=PinnedSettings.of(settings)
        )

    def check(self, connection: sa.Connection) -> None:
        """Check the number of layers, if the backbone was created here. Otherwise the training refuses the backbone.

        Raises: SettingsError, the backbone has fewer layers.
        """
        tunable = count_tunable_layers(connection, _demand_start(self.model_version, None))
        if tunable is not None:
            demand_layers(self.layers, tunable)

    def run(self, workspace: Workspace, attempt: Attempt, on_step: StepProgress | None = None) -> str:
        """Train a challenger. Returns: the id of the finished MLflow run."""
        start = _demand_start(self.model_version, None)
        plan = Plan(self.seed, self.pinned.views())
        options = FinetuningOptions(self.layers, self.epochs, self.learning_rate)
        return train_challenger(
            workspace,
            attempt,
            plan,
            lambda snapshot, run, report: finetune_backbone(workspace, snapshot, start, plan, options, run, report),
            on_step,
        )


@dataclass(frozen=True)
class Tune:
    """Search for the hyperparameters of a new head, and train the head with the best ones.

    Args:
        snapshot_size: number of the newest pool images, from 2; None: see `SnapshotRules`.
        trials: number of heads to train in the search, from 1.
        seed: for every trial's initial head, shuffling and dropout, from 0.
        model_version: set by `pin`, so that the search's workers and the training after them use the same backbone.
        hyperparameters: the result of the search; None before its end.
        pinned: set by `pin`; the search decides about mirrored views.
        Raises: SettingsError, a value is out of range.
    """

    kind: ClassVar[str] = TUNE
    snapshot_size: int | None
    trials: int
    seed: int = 0
    model_version: int | None = None
    hyperparameters: dict[str, int | float] | None = None
    pinned: PinnedSettings = NOTHING_PINNED

    def __post_init__(self) -> None:
        _check(self.snapshot_size, self.seed)
        if self.trials < 1:
            raise SettingsError(f"trials: expected 1 or more, got {self.trials}.")

    def snapshot_rules(self, settings: Settings) -> SnapshotRules:
        """Return the rules for its snapshot."""
        return _rules(self.snapshot_size, settings, NEWEST)

    def pin(self, settings: Settings, champion: int | None) -> "Tune":
        """Add the settings and the version to start from. The hyperparameters are those of Adam."""
        pinned = replace(PinnedSettings.of(settings), head_solver="adam")
        return replace(self, model_version=champion, pinned=pinned)

    def check(self, connection: sa.Connection) -> None:
        """Do nothing: the constructor has checked all values."""

    def end_search(self, hyperparameters: Mapping[str, int | float], is_mirrored: bool) -> "Tune":
        """Return this request with the values that the search chose."""
        pinned = replace(self.pinned, mirrored_views=is_mirrored)
        return replace(self, hyperparameters=dict(hyperparameters), pinned=pinned)

    def run(self, workspace: Workspace, attempt: Attempt, on_step: StepProgress | None = None) -> str:
        """Train a challenger with the hyperparameters of the search. Returns: the id of the finished MLflow run."""
        plan = Plan(self.seed, self.pinned.views(), self.hyperparameters or {})
        return train_challenger(
            workspace,
            attempt,
            plan,
            lambda snapshot, _run, report: ensure_backbone(workspace, snapshot, self.model_version, report),
            on_step,
        )


Recipe = Retrain | Finetune | Tune

_ADAPTERS: dict[str, TypeAdapter[Recipe]] = {each.kind: TypeAdapter(each) for each in (Retrain, Finetune, Tune)}
_NOT_OPTIONS = ("hyperparameters", "pinned")


def encode_recipe(recipe: Recipe) -> dict[str, object]:
    """Return a recipe as one flat JSON object."""
    values = asdict(recipe)
    pinned = values.pop("pinned")
    return {"kind": recipe.kind, **values, **pinned}


def decode_recipe(record: Mapping[str, object]) -> Recipe:
    """Read a JSON object that `encode_recipe` returned.

    Raises: CatalogError, the object has another form.
    """
    try:
        return _ADAPTERS[str(record.get("kind", RETRAIN))].validate_python({**record, "pinned": record})
    except (KeyError, ValidationError) as error:
        raise CatalogError(
            f"Expected the stored parameters of a training. Received: {dict(record)}. "
            "Another release stored them. Request the training again, with another key."
        ) from error


def demand_recipe(task: Task, recipe: Recipe) -> None:
    """Check that the task has this kind of training.

    Raises: SettingsError, it does not.
    """
    match recipe:
        case Finetune():
            demand_finetunable(task)
        case Tune():
            demand_tunable(task)


def demand_same_request(request_key: str, found: Recipe, asked: Recipe) -> None:
    """Check that a request with a known key has the options of that key's attempt. An option of None matches any value.

    Raises: SettingsError, it has others.
    """
    if found.kind != asked.kind:
        raise SettingsError(
            f"Expected the key of a {asked.kind} request. Received: {request_key}, of a {found.kind} request. "
            f"Continue with `mycoflow {found.kind}`, or use another key."
        )
    began, now = options_of(found), options_of(asked)
    other = [name for name, value in now.items() if value is not None and began[name] != value]
    if other:
        raise SettingsError(
            f"Expected the options that request {request_key} began with: "
            f"{', '.join(f'{name} {began[name]}' for name in other)}. "
            f"Received: {', '.join(f'{name} {now[name]}' for name in other)}. "
            "Repeat the former to continue it, or use another key for a new training."
        )


def options_of(recipe: Recipe) -> dict[str, object]:
    """Return the options of a request by name."""
    return {each.name: getattr(recipe, each.name) for each in fields(recipe) if each.name not in _NOT_OPTIONS}


def _demand_start(model_version: int | None, champion: int | None) -> int:
    start = model_version if model_version is not None else champion
    if start is None:
        raise NoChampionError(
            "Expected a model to fine-tune, found none in production. Train one with `mycoflow retrain`."
        )
    return start


def _rules(size: int | None, settings: Settings, selection: Selection) -> SnapshotRules:
    return SnapshotRules(size, settings.validation_ratio, settings.harvest_share, selection)


def _check(snapshot_size: int | None, seed: int) -> None:
    if snapshot_size is not None and snapshot_size < 2:
        raise SettingsError(f"snapshot_size: expected 2 or more, got {snapshot_size}.")
    if not 0 <= seed < 2**32:
        raise SettingsError(f"seed: expected 0 to 4294967295, got {seed}.")
