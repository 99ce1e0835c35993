"""Bring pixels of every depth to 8 bits."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFile

from ml.errors import InvalidImageError

_BITS_16, _BITS_12 = 65535, 4095
_BAND_ROWS = 256  # rows that are scaled at once: 16-bit pixels need four times their memory meanwhile
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}

_GREY_WITH_ALPHA = "LA;16B"
_Arguments = tuple[Any, ...] | str | None  # of a decoder, as Pillow declares them


def from_16_bit_grey(image: Image.Image, white: int | None) -> Image.Image:
    """Scale 16-bit greys to 8 bits. Pillow's own conversion clips at 255, which makes the picture white.

    Args: white, the value of white that the file states, if any.
    """
    values = np.asarray(image)
    scale = _white_of(int(values.max()), white)
    return Image.fromarray(_scale_in_bands(values, scale))


def is_16_bit_colour(image: ImageFile.ImageFile) -> bool:
    """Whether the pixels of an image that is not loaded yet have 16 bits per channel, of which Pillow reads 8."""
    return image.mode in ("RGB", "RGBA") and any(";16" in _raw_mode(each.args) for each in image.tile)


def uses_12_bits_only(image: Image.Image) -> bool:
    """Whether the upper bytes of 16-bit colours show that only 12 bits are in use."""
    return all(_is_12_bit(image.getchannel(each)) for each in "RGB")


def read_lower_bytes(image: ImageFile.ImageFile) -> Image.Image:
    """Return the lower byte of each value of a 16-bit image that is not loaded yet. Pillow reads the upper ones."""
    if any(_raw_mode(each.args) == _GREY_WITH_ALPHA for each in image.tile):
        # Pillow cannot swap the bytes of these. Read as RGBA, they are upper and lower grey, upper and lower alpha.
        image.tile = [each._replace(args="RGBA") for each in image.tile]
        image.load()
        _, grey, _, alpha = image.split()
        return Image.merge("RGBA", [grey, grey, grey, alpha])
    image.tile = [each._replace(args=_swapped(_raw_mode(each.args), each.args)) for each in image.tile]
    image.load()
    return image


def from_12_bit_colour(upper: Image.Image, lower: Image.Image) -> Image.Image:
    """Bring 12-bit colours in 16-bit values to 8 bits. Transparency of 16 bits stays as it is."""
    image = ImageChops.add(upper.point(lambda byte: min(16 * byte, 255)), lower.point(lambda byte: byte // 16))
    if upper.mode == "RGBA" and not _is_12_bit(upper.getchannel("A")):
        image.putalpha(upper.getchannel("A"))
    return image


def refuse_unscaled(image: Image.Image) -> None:
    """Refuse pixels that have no standard value for white.

    Raises: InvalidImageError, not_convertible.
    """
    if image.mode in ("I", "F", "LAB", "HSV"):
        raise InvalidImageError(
            "not_convertible",
            f"expected 8- or 16-bit grey, palette, RGB or CMYK pixels, got mode {image.mode}: save it as 8-bit RGB",
        )


def _is_12_bit(upper: Image.Image) -> bool:
    return int(np.asarray(upper).max()) <= _BITS_12 >> 8


def _white_of(highest: int, stated: int | None) -> int:
    """Return the value of white. Cameras and microscopes write 12 bits into 16: as 16 bits they would be black."""
    if stated is not None and max(highest, 255) <= stated <= _BITS_16:
        return stated
    return _BITS_12 if highest <= _BITS_12 else _BITS_16


def _scale_in_bands(values: NDArray[np.uint16], white: int) -> NDArray[np.uint8]:
    return np.concatenate([_scale(values[row : row + _BAND_ROWS], white) for row in range(0, len(values), _BAND_ROWS)])


def _scale(values: NDArray[np.uint16], white: int) -> NDArray[np.uint8]:
    scaled = (values.astype(np.uint32) * 255 + white // 2) // white
    return np.minimum(scaled, 255).astype(np.uint8)


def _raw_mode(arguments: _Arguments) -> str:
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _swapped(raw: str, arguments: _Arguments) -> _Arguments:
    other = raw[:-1] + _OTHER_BYTE[raw[-1]]
    return (other, *arguments[1:]) if isinstance(arguments, tuple) else other
