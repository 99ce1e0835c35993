"""The list of backbones, one line each: the name, and the module whose BACKBONE implements it.

A home whose settings name none takes the first whose ImageNet weights are available.
"""

from importlib import import_module

from ml.backbones.base import Backbone
from ml.errors import SettingsError

REGISTERED = {
    "vgg16": "ml.backbones.vgg16.vgg16_backbone",
    "efficientnet_lite0": "ml.backbones.efficientnet_lite.efficientnet_lite_backbone",
}
# The backbone of models from the time when a model did not name its backbone.
FIRST_BACKBONE = "vgg16"


def find_backbone(name: str) -> Backbone:
    """Import a backbone, without TensorFlow.

    Raises: SettingsError, there is no such backbone.
    """
    if name not in REGISTERED:
        raise SettingsError(
            f"Expected one of Mycoflow's backbones: {', '.join(REGISTERED)}. Received: {name!r}. "
            "Set MYCOFLOW_BACKBONE to one of them, or leave it empty."
        )
    backbone: Backbone = import_module(REGISTERED[name]).BACKBONE
    return backbone


def choose_backbone(weights: str | None) -> tuple[str, str]:
    """Choose the backbone of a home whose settings name none.

    Args: weights, MYCOFLOW_WEIGHTS.
    Returns: its name, and the reason for the choice.
    """
    if weights in (None, "imagenet"):
        for name in REGISTERED:
            if find_backbone(name).choose_weights()[0] == "imagenet":
                return name, "it is the first backbone of `mycoflow backbones` with ImageNet weights here."
    possible = [name for name in REGISTERED if weights is None or has_source(find_backbone(name), weights)]
    return (possible or [FIRST_BACKBONE])[0], f"MYCOFLOW_BACKBONE is empty, and MYCOFLOW_WEIGHTS is {weights!r}."


def has_source(backbone: Backbone, weights: str) -> bool:
    """Return whether MYCOFLOW_WEIGHTS may have this value with a backbone."""
    return any(weights == each or (each.startswith(".") and weights.endswith(each)) for each in backbone.weight_sources)
