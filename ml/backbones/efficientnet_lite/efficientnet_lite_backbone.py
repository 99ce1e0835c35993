"""EfficientNet-Lite0 as a backbone."""

from itertools import accumulate

from ml.backbones.base import Backbone
from ml.backbones.cut_points import CutPoint
from ml.backbones.efficientnet_lite.keras_lite import build_layers
from ml.backbones.efficientnet_lite.lite_blocks import (
    BLOCKS,
    CONVOLUTIONS,
    FEATURE_COUNT,
    MINIMUM_IMAGE_SIZE,
    sides,
)
from ml.backbones.efficientnet_lite.lite_onnx import PIXEL_SCALING, export_backbone, read_backbone
from ml.backbones.efficientnet_lite.lite_weights import WEIGHT_SOURCES, choose_weights, resolve_weights
from ml.backbones.onnx_files import CHANNELS_FIRST_NAME


def cut_points(image_size: int) -> list[CutPoint]:
    """Return a cut point in front of each block: inside of one, its input would be needed too."""
    first_layers = accumulate((len(block.convolutions) for block in BLOCKS[:-1]), initial=0)
    inputs = [CHANNELS_FIRST_NAME, *(block.output for block in BLOCKS[:-1])]
    channels = [block.convolutions[0].channels_in for block in BLOCKS]
    return [
        CutPoint(layer, name, (side, side, channels_in))
        for layer, name, side, channels_in in zip(first_layers, inputs, sides(image_size), channels, strict=True)
    ]


class EfficientNetLite0:
    """EfficientNet-Lite0, pooled over the image. Source: arXiv 1905.11946; github.com/tensorflow/tpu."""

    name = "efficientnet_lite0"
    feature_count = FEATURE_COUNT
    minimum_image_size = MINIMUM_IMAGE_SIZE
    default_image_size = 224  # at 160 pixels, 4 to 10 points fewer of the mushroom photos are named rightly
    pixel_scaling = PIXEL_SCALING
    # Averaging in int8 would cause most of the noise in the features, and fp32 costs no time here.
    kept_in_fp32 = ("global_average_pool", "flatten")
    tunable_layers = tuple(each.name for each in CONVOLUTIONS)

    weight_sources = WEIGHT_SOURCES

    choose_weights = staticmethod(choose_weights)
    resolve_weights = staticmethod(resolve_weights)
    build_layers = staticmethod(build_layers)
    export_onnx = staticmethod(export_backbone)
    read_onnx = staticmethod(read_backbone)
    cut_points = staticmethod(cut_points)


BACKBONE: Backbone = EfficientNetLite0()
