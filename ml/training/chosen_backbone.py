"""Choose the backbone that a head is trained on."""

import logging

from ml.app import Workspace
from ml.backbones.base import Backbone
from ml.backbones.registered import choose_backbone, find_backbone
from ml.backbones.served_backbone import ServedBackbone, finetuned_weights, make_served_backbone
from ml.catalog import home_choices
from ml.catalog.database import Catalog
from ml.catalog.snapshots.stored_snapshots import Snapshot
from ml.progress import StepProgress
from ml.settings import Settings

logger = logging.getLogger(__name__)

_BACKBONE = "backbone"  # name of the choice that the home keeps


def ensure_backbone(
    workspace: Workspace, snapshot: Snapshot, start: int | None, on_step: StepProgress | None = None
) -> ServedBackbone:
    """Return the backbone to train a head on. Create it if it does not exist yet.

    If the version to start from has a fine-tuned copy of the backbone that the settings name, return that copy.
    Otherwise return the backbone that the settings name.

    Args:
        snapshot: a new backbone is calibrated and compared on its images.
        start: the version to start from, if any.
        on_step: called with ("backbone", images done, images to do) while a backbone is created.
        Raises: WeightsError, the weights are not available, or a stored file has changed; SettingsError.
    """
    catalog, settings = workspace.catalog, workspace.settings
    backbone = chosen_backbone(catalog, settings)
    finetuned = None if start is None else finetuned_weights(catalog, start, backbone)
    weights = finetuned or backbone.resolve_weights(chosen_weights(catalog, settings, backbone))
    report = on_step or (lambda _step, _done, _total: None)
    return make_served_backbone(
        catalog,
        settings,
        backbone,
        weights,
        settings.image_size or backbone.default_image_size,
        snapshot,
        lambda done, total: report("backbone", done, total),
    )


def chosen_backbone(catalog: Catalog, settings: Settings) -> Backbone:
    """Return the backbone that the settings name, and keep it as the home's choice. Without a name, return that choice.

    The cached features depend on the backbone. So weights that become available later do not change the choice.

    Raises: SettingsError, there is no such backbone.
    """
    kept = kept_backbone(catalog)
    if settings.backbone is None and kept is not None:
        return find_backbone(kept)
    name, reason = (
        (settings.backbone, "MYCOFLOW_BACKBONE names it.") if settings.backbone else choose_backbone(settings.weights)
    )
    backbone = find_backbone(name)
    if name != kept:
        with catalog.begin() as connection:
            home_choices.change_choice(connection, _BACKBONE, name, reason)
        logger.warning("This home uses MYCOFLOW_BACKBONE=%s from now on: %s", name, reason)
    return backbone


def kept_backbone(catalog: Catalog) -> str | None:
    """Return the name of the backbone that this home has chosen; None before its first training."""
    with catalog.begin() as connection:
        return home_choices.find_choice(connection, _BACKBONE)


def chosen_weights(catalog: Catalog, settings: Settings, backbone: Backbone) -> str:
    """Return the weights that the settings name. If they name none, return those that this home chose first.

    The cached features depend on the weights. So a file that becomes available later does not change the choice.
    """
    if settings.weights is not None:
        return settings.weights
    chosen = kept_weights(catalog, backbone)
    if chosen is None:
        value, reason = backbone.choose_weights()
        with catalog.begin() as connection:
            chosen = home_choices.keep_choice(connection, _weights_of(backbone), value, reason)
        logger.warning("This home uses MYCOFLOW_WEIGHTS=%s from now on: %s", chosen, reason)
    return chosen


def kept_weights(catalog: Catalog, backbone: Backbone) -> str | None:
    """Return the weights of a backbone that this home has chosen; None before its first training with it."""
    with catalog.begin() as connection:
        return home_choices.find_choice(connection, _weights_of(backbone))


def _weights_of(backbone: Backbone) -> str:
    return f"weights of {backbone.name}"
