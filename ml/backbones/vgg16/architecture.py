"""VGG16's backbone as plain data, for the code that builds it in Keras, writes it as ONNX, or checks a weights file.

Source: arXiv 1409.1556, configuration D; names as in keras.applications.vgg16.
"""

from ml.backbones.preprocessing import INPUT_CHANNELS

FILTERS_PER_BLOCK = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
FEATURE_COUNT = 512
MINIMUM_IMAGE_SIZE = 32  # five poolings halve it to 1

# Mean of the ImageNet training pixels in RGB; VGG16 was trained on pixels minus this mean.
# Source: keras.applications.imagenet_utils, mode "caffe".
IMAGENET_MEAN_RGB = (123.68, 116.779, 103.939)


def layer_names() -> list[str]:
    """Names of the 13 convolutions, input first: block1_conv1 to block5_conv3."""
    return [
        f"block{block}_conv{conv}"
        for block, filters in enumerate(FILTERS_PER_BLOCK, start=1)
        for conv in range(1, len(filters) + 1)
    ]


def kernel_shapes() -> list[tuple[int, int, int, int]]:
    """Shapes (height, width, channels in, channels out) of the 13 kernels, in the order of `layer_names`."""
    outputs = [filters for block in FILTERS_PER_BLOCK for filters in block]
    inputs = [INPUT_CHANNELS, *outputs[:-1]]
    return [(3, 3, channels_in, channels_out) for channels_in, channels_out in zip(inputs, outputs, strict=True)]
