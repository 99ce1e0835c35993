"""The list of backbones, one line each: the name, and the module whose BACKBONE implements it."""

from importlib import import_module

from ml.backbones.base import Backbone
from ml.errors import SettingsError

REGISTERED = {
    "vgg16": "ml.backbones.vgg16.vgg16_backbone",
}
# The default of a home that names no backbone, and of models from the time when a model did not name its backbone.
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
