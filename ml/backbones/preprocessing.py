"""Turn an image's stored bytes into the pixels that every model takes, with the same code in training and serving."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.errors import InvalidImageError

INPUT_CHANNELS = 3  # RGB
# Part of every backbone id. Raise it whenever the decoder, the resizing or the layout changes: old cached features no
# longer match then.
PREPROCESSING_VERSION = "rgb-bilinear-1"


def to_pixels(content: bytes, image_size: int) -> NDArray[np.uint8]:
    """Decode an image and resize it to the network's square input.

    Pillow's bilinear filter averages over the whole source area when it shrinks, so fine detail does not alias.
    The aspect ratio changes, because cropping would lose what is at the border.

    Args:
        content: bytes of an image file as the image store keeps it (upright, RGB).
        image_size: side of the result, pixels.
    Returns: uint8 RGB, (image_size, image_size, 3), 0 to 255.
    Raises: InvalidImageError, the bytes do not decode.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            return resize(image, image_size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidImageError(
            "unreadable",
            f"Expected the bytes of an image file. Received {len(content)} bytes that do not decode ({error}). "
            "Ingest the image again, or exclude it.",
        ) from error


def resize(image: Image.Image, image_size: int) -> NDArray[np.uint8]:
    """Resize a decoded image to the network's square input. Args and result as for `to_pixels`."""
    resized = image.convert("RGB").resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(resized)
