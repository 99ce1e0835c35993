"""The backbones that there are, one line each: the name, and the module whose BACKBONE implements it."""

from importlib import import_module

from ml.backbones.base import Backbone
from ml.errors import SettingsError

REGISTERED = {
    "vgg16": "ml.backbones.vgg16.vgg16_backbone",
}
FIRST_BACKBONE = "vgg16"  # of a home that names none, and of models from before they named theirs


def find_backbone(name: str) -> Backbone:
    """Import a backbone; TensorFlow is not imported by that.

    Raises: SettingsError, there is no such backbone.
    """
    if name not in REGISTERED:
        raise SettingsError(
            f"Expected a backbone that Mycoflow knows: {', '.join(REGISTERED)}. Received: {name!r}. "
            "Set MYCOFLOW_BACKBONE to one of them, or leave it empty."
        )
    backbone: Backbone = import_module(REGISTERED[name]).BACKBONE
    return backbone
