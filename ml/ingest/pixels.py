"""Convert every kind of pixel in image files to 8-bit RGB."""

import numpy as np
from PIL import Image

from ml.errors import InvalidImageError


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded image to 8-bit RGB: scale 16-bit greys, and put transparent pixels on white.

    Raises: InvalidImageError, not_convertible: 32-bit and floating-point pixels have no standard value for white, and
        for some colour spaces (CIELAB) there is no conversion.
    """
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode in ("I", "F"):
        raise _not_convertible(image)
    try:
        return _over_white(image) if image.has_transparency_data else image.convert("RGB")
    except ValueError as error:
        raise _not_convertible(image) from error


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255. Pillow's own conversion clips at 255, which makes the picture white."""
    grey = (np.asarray(image).astype(np.uint32) * 255 + 32767) // 65535
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", rgba.size, "white")
    canvas.paste(rgba, mask=rgba.getchannel("A"))
    return canvas


def _not_convertible(image: Image.Image) -> InvalidImageError:
    return InvalidImageError(
        "not_convertible", f"expected 8- or 16-bit grey, palette, RGB or CMYK pixels, got mode {image.mode}"
    )
