"""VGG16 as a backbone."""

from ml.backbones.base import Backbone, PixelScaling
from ml.backbones.cut_points import CutPoint
from ml.backbones.onnx_files import CHANNELS_FIRST_NAME
from ml.backbones.vgg16.architecture import (
    FEATURE_COUNT,
    IMAGENET_MEAN_RGB,
    MINIMUM_IMAGE_SIZE,
    kernel_shapes,
    layer_names,
)
from ml.backbones.vgg16.keras_vgg16 import build_layers
from ml.backbones.vgg16.onnx_export import export_backbone, read_backbone
from ml.backbones.vgg16.weights import WEIGHT_SOURCES, choose_weights, resolve_weights


def cut_points(image_size: int) -> list[CutPoint]:
    """Return a cut point in front of each of the 13 convolutions."""
    return [
        CutPoint(index, _tensor_in_front_of(index), _shape_in_front_of(index, image_size))
        for index in range(len(layer_names()))
    ]


def _tensor_in_front_of(index: int) -> str:
    if index == 0:
        return CHANNELS_FIRST_NAME
    block, is_first_of_block = _block_of(index), layer_names()[index].endswith("_conv1")
    return f"block{block - 1}_pool" if is_first_of_block else f"{layer_names()[index - 1]}_relu"


def _shape_in_front_of(index: int, image_size: int) -> tuple[int, int, int]:
    side = image_size // 2 ** (_block_of(index) - 1)
    return side, side, kernel_shapes()[index][2]


def _block_of(index: int) -> int:
    return int(layer_names()[index].removeprefix("block")[0])


class Vgg16:
    """VGG16's convolutions, pooled over the image. Source: arXiv 1409.1556; keras.applications.vgg16."""

    name = "vgg16"
    feature_count = FEATURE_COUNT
    minimum_image_size = MINIMUM_IMAGE_SIZE
    default_image_size = 160
    pixel_scaling = PixelScaling(IMAGENET_MEAN_RGB)
    # The nodes after the last convolution: averaging in int8 would cause most of the noise in the features, and fp32
    # costs no time here.
    kept_in_fp32 = ("block5_pool", "global_average_pool", "flatten")
    tunable_layers = tuple(layer_names())

    weight_sources = WEIGHT_SOURCES

    choose_weights = staticmethod(choose_weights)
    resolve_weights = staticmethod(resolve_weights)
    build_layers = staticmethod(build_layers)
    export_onnx = staticmethod(export_backbone)
    read_onnx = staticmethod(read_backbone)
    cut_points = staticmethod(cut_points)


BACKBONE: Backbone = Vgg16()
