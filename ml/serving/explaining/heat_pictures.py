"""Draw a class activation map as a heat map that lies exactly over the photo."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONGEST_SIDE = 640  # pixels of a drawn map; a browser enlarges it over a larger photo
_STRONGEST = 0.7  # opacity where a region speaks most for the class
# From weak to strong: yellow, orange, dark red.
_COLOURS = np.array([(255, 230, 90), (250, 120, 20), (190, 0, 40)], np.float32)


def fit(photo: bytes) -> tuple[int, int]:
    """Return the size of a photo's map: its own, or the same proportions with a longest side of LONGEST_SIDE."""
    with Image.open(BytesIO(photo)) as image:
        width, height = image.size
    scale = min(1.0, LONGEST_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def draw_heat(evidence: NDArray[np.float32], size: tuple[int, int]) -> Image.Image:
    """Draw a class activation map in colours, over a photo of this size.

    The network sees the whole photo, stretched to a square. So the map, stretched back, lies exactly over the photo.

    Args: evidence, float32 (rows, columns); what is not positive stays transparent. size, width and height, pixels.
    Returns: RGBA.
    """
    positive = np.maximum(evidence, 0)
    most = float(positive.max())
    grid = Image.fromarray(positive / most if most > 0 else positive)
    strength = np.clip(np.asarray(grid.resize(size, Image.Resampling.BICUBIC)), 0, 1)
    stops = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(strength, stops, _COLOURS[:, channel]) for channel in range(3)]
    channels.append(strength * (_STRONGEST * 255))
    return Image.fromarray(np.rint(np.stack(channels, axis=-1)).astype(np.uint8), "RGBA")


def draw_over(photo: bytes, evidence: NDArray[np.float32]) -> bytes:
    """Return a photo with a class activation map over it, as PNG."""
    size = fit(photo)
    with Image.open(BytesIO(photo)) as image:
        shown = image.convert("RGB").resize(size).convert("RGBA")
    return encode_png(Image.alpha_composite(shown, draw_heat(evidence, size)).convert("RGB"))


def encode_png(image: Image.Image) -> bytes:
    """Return an image as PNG."""
    content = BytesIO()
    image.save(content, "PNG", compress_level=1)  # a third of the time, and half as much again to send
    return content.getvalue()
