"""A backbone of three small convolutions with random weights: for tests in which the arithmetic is not the question."""

from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from ml.backbones.base import Backbone, BackboneWeights, PixelScaling
from ml.backbones.cut_points import CutPoint
from ml.backbones.keras_backend import load_keras
from ml.backbones.onnx_files import CHANNELS_FIRST_NAME, FEATURES_NAME, make_backbone, parse, scale_pixels, tensor
from ml.backbones.registered import REGISTERED
from ml.errors import WeightsError

NAME = "three_layers"
LAYERS = ("first", "second", "third")
CHANNELS = (3, 16, 32, 128)
SIDES = (1, 2, 4)  # an image's side through that of the layer's input


class ThreeLayers:
    """Each layer is a convolution, ReLU and a pooling to half the side."""

    name = NAME
    feature_count = CHANNELS[-1]
    minimum_image_size = 32
    default_image_size = 32
    pixel_scaling = PixelScaling((127.0, 127.0, 127.0), (1 / 128, 1 / 128, 1 / 128))
    kept_in_fp32 = ("third_pool", "global_average_pool", "flatten")
    tunable_layers = LAYERS
    weight_sources: ClassVar = {"random": "there are no others"}

    def choose_weights(self) -> tuple[str, str]:
        return "random", "there are no others"

    def resolve_weights(self, source: str, /) -> BackboneWeights:
        if source != "random":
            raise WeightsError(f"Expected MYCOFLOW_WEIGHTS=random, the only weights of {NAME}. Received: {source!r}.")
        generator, arrays = np.random.default_rng(0), {}
        for name, (before, after) in zip(LAYERS, pairwise(CHANNELS), strict=True):
            kernel = generator.standard_normal((3, 3, before, after), dtype=np.float32)
            arrays |= {f"{name}/kernel": kernel * np.float32(np.sqrt(2 / (9 * before)))}
            arrays |= {f"{name}/bias": np.zeros(after, np.float32)}
        return BackboneWeights("random:0", arrays)

    def build_layers(self, tensor: Any, first_layer: int, /) -> Any:
        layers = load_keras().layers
        for name, channels in list(zip(LAYERS, CHANNELS[1:], strict=True))[first_layer:]:
            tensor = layers.Conv2D(channels, 3, padding="same", activation="relu", name=name)(tensor)
            tensor = layers.MaxPooling2D(name=f"{name}_pool")(tensor)
        return layers.GlobalAveragePooling2D(name="features")(tensor)

    def export_onnx(self, weights: BackboneWeights, image_size: int, /) -> bytes:
        from onnx import helper

        (nodes, initializers), source = scale_pixels(self.pixel_scaling), CHANNELS_FIRST_NAME
        for name in LAYERS:
            kernel, bias = weights.arrays[f"{name}/kernel"], weights.arrays[f"{name}/bias"]
            initializers += [tensor(f"{name}_kernel", kernel.transpose(3, 2, 0, 1)), tensor(f"{name}_bias", bias)]
            inputs = [source, f"{name}_kernel", f"{name}_bias"]
            nodes.append(helper.make_node("Conv", inputs, [name], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
            nodes.append(helper.make_node("Relu", [name], [f"{name}_relu"], f"{name}_relu"))
            source = f"{name}_pool"
            nodes.append(
                helper.make_node("MaxPool", [f"{name}_relu"], [source], source, kernel_shape=[2, 2], strides=[2, 2])
            )
        nodes.append(helper.make_node("GlobalAveragePool", [source], ["pooled"], "global_average_pool"))
        nodes.append(helper.make_node("Flatten", ["pooled"], [FEATURES_NAME], "flatten", axis=1))
        return make_backbone(nodes, initializers, NAME, image_size, self.feature_count)

    def read_onnx(self, onnx: bytes, recipe: str, /) -> BackboneWeights:
        from onnx import numpy_helper

        arrays = {each.name: numpy_helper.to_array(each) for each in parse(onnx).graph.initializer}
        kernels = {f"{n}/kernel": np.ascontiguousarray(arrays[f"{n}_kernel"].transpose(2, 3, 1, 0)) for n in LAYERS}
        return BackboneWeights(recipe, kernels | {f"{name}/bias": arrays[f"{name}_bias"] for name in LAYERS})

    def cut_points(self, image_size: int, /) -> list[CutPoint]:
        tensors = (CHANNELS_FIRST_NAME, "first_pool", "second_pool")
        return [
            CutPoint(index, name, (image_size // SIDES[index], image_size // SIDES[index], CHANNELS[index]))
            for index, name in enumerate(tensors)
        ]


BACKBONE: Backbone = ThreeLayers()
REGISTERED[NAME] = __name__
