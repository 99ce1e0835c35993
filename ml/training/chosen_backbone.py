"""The backbone that a training puts its head on."""

import logging

from ml.app import Workspace
from ml.backbones.base import Backbone
from ml.backbones.registered import FIRST_BACKBONE, find_backbone
from ml.backbones.served_backbone import ServedBackbone, finetuned_weights, make_served_backbone
from ml.catalog import home_choices
from ml.catalog.database import Catalog
from ml.catalog.snapshots.stored_snapshots import Snapshot
from ml.progress import StepProgress
from ml.settings import Settings

logger = logging.getLogger(__name__)

_BACKBONE = "backbone"  # the choice


def ensure_backbone(
    workspace: Workspace, snapshot: Snapshot, start: int | None, on_step: StepProgress | None = None
) -> ServedBackbone:
    """The backbone to train a head on, made now if nobody made it before.

    It is the one that the settings ask for, or that of the version to start from, where that is the same backbone,
    fine-tuned.

    Args:
        snapshot: gives the images that a new backbone is calibrated and compared on.
        start: the version to start from, if any.
        on_step: called with ("backbone", images done, images to do) while one is made.
    Raises: WeightsError, its weights cannot be had, or a stored file is not the one that was made; SettingsError.
    """
    catalog, settings = workspace.catalog, workspace.settings
    backbone = chosen_backbone(catalog, settings)
    finetuned = None if start is None else finetuned_weights(catalog, start, backbone)
    weights = finetuned or backbone.resolve_weights(chosen_weights(catalog, settings, backbone))
    tell = on_step or (lambda _step, _done, _total: None)
    return make_served_backbone(
        catalog,
        settings,
        backbone,
        weights,
        settings.image_size,
        snapshot,
        lambda done, total: tell("backbone", done, total),
    )


def chosen_backbone(catalog: Catalog, settings: Settings) -> Backbone:
    """Return the backbone that the settings name, which is kept; where they name none, the one that this home keeps.

    Raises: SettingsError, there is no such backbone.
    """
    with catalog.begin() as connection:
        kept = home_choices.find_choice(connection, _BACKBONE)
    name = settings.backbone or kept or FIRST_BACKBONE
    backbone = find_backbone(name)
    if name != kept:
        reason = "MYCOFLOW_BACKBONE says so." if settings.backbone else "MYCOFLOW_BACKBONE says nothing."
        with catalog.begin() as connection:
            home_choices.change_choice(connection, _BACKBONE, name, reason)
        logger.warning("This home takes MYCOFLOW_BACKBONE=%s from now on: %s", name, reason)
    return backbone


def chosen_weights(catalog: Catalog, settings: Settings, backbone: Backbone) -> str:
    """Return the weights that the settings name; where they name none, those that this home chose once.

    The weights decide what the cached features mean. So a file that can be had only later changes nothing by itself.
    """
    if settings.weights is not None:
        return settings.weights
    name = f"weights of {backbone.name}"
    with catalog.begin() as connection:
        chosen = home_choices.find_choice(connection, name)
    if chosen is None:
        value, reason = backbone.choose_weights()
        with catalog.begin() as connection:
            chosen = home_choices.keep_choice(connection, name, value, reason)
        logger.warning("This home takes MYCOFLOW_WEIGHTS=%s from now on: %s", chosen, reason)
    return chosen
