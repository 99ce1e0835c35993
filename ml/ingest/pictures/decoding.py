"""Decode a picture to upright, 8-bit sRGB."""

import math
import re
from io import BytesIO

from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ml.errors import InvalidImageError
from ml.ingest.pictures import bit_depths
from ml.ingest.pictures.colour_profiles import Profile, to_srgb
from ml.ingest.pictures.heif_files import decode_heic
from ml.ingest.pictures.jpeg_segments import END, SCAN, JpegFile
from ml.ingest.pictures.picture_files import PictureFile, check_size, damaged_error
from ml.ingest.pictures.picture_limits import Limits

# Not Image.open: it tries formats, and warns about sizes that our limits allow.
_OPENERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "TIFF": TiffImageFile,
}
_JPEG_SCALES = (1, 2, 4, 8)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Coded pixels, should any be missing: where all are there, a decoder skips what follows them.
_MORE_PIXELS = bytes(range(1, 255)) * 16
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")


def decode(file: PictureFile, profile: Profile | None, most_pixels: int, limits: Limits) -> Image.Image:
    """Decode a picture.

    Args:
        profile: the colour profile of the file.
        most_pixels: a larger picture is shrunk, by a whole number.
    Returns: RGB; grey where a JPEG is grey.
    Raises: InvalidImageError, with one of the REASONS of ml.ingest.validation; MemoryError.
    """
    try:
        image = _pixels_of(file, most_pixels, limits)
        image = _shrink(image, most_pixels)
        image = _to_rgb(image, profile)
    except (InvalidImageError, MemoryError):
        raise
    except Exception as error:  # decoders of hostile files raise anything
        raise damaged_error(file.file_format) from error
    method = _UPRIGHT.get(file.orientation)
    return image if method is None else image.transpose(method)


def _pixels_of(file: PictureFile, most_pixels: int, limits: Limits) -> Image.Image:
    if file.file_format == "HEIC":
        return decode_heic(file.content)
    if isinstance(file, JpegFile):
        return _decode_jpeg(file, most_pixels, limits)
    image = _open(file, file.content, limits)
    is_16_bit_colour = bit_depths.is_16_bit_colour(image)
    image.load()
    bit_depths.refuse_unscaled(image)
    if image.mode.startswith("I;16"):
        return bit_depths.from_16_bit_grey(image, file.white)
    if is_16_bit_colour and bit_depths.uses_12_bits_only(image):
        return bit_depths.from_12_bit_colour(image, bit_depths.read_lower_bytes(_open(file, file.content, limits)))
    if file.file_format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")  # the fourth byte is not in use
    return image


def _open(file: PictureFile, content: bytes, limits: Limits) -> ImageFile.ImageFile:
    image = _OPENERS[file.file_format](BytesIO(content))
    check_size(file.file_format, *image.size, limits)
    return image


def _decode_jpeg(file: JpegFile, most_pixels: int, limits: Limits) -> Image.Image:
    def load(content: bytes) -> Image.Image:
        image = _open(file, content, limits)
        scale = next((each for each in _JPEG_SCALES if image.width * image.height <= most_pixels * each**2), 8)
        image.draft(image.mode, (image.width // scale, image.height // scale))
        image.load()
        return image

    image = load(file.content + END)
    if not file.has_end:
        # The decoder fills missing rows with grey and says nothing. It is whole if more data would change nothing.
        more = file.content + _more_pixels(file.content) + END
        if not file.has_every_scan or load(more).tobytes() != image.tobytes():
            raise damaged_error(file.file_format)
    return image


def _more_pixels(content: bytes) -> bytes:
    """Return pixels for a JPEG that may lack some, without a restart marker and with the next one.

    A decoder that waits for the marker skips all that is before it.
    """
    restarts = _RESTART.findall(content, content.rindex(SCAN))
    number = restarts[-1][0] + 1 if restarts else 0
    return _MORE_PIXELS + bytes([0xFF, 0xD0 | number & 7]) + _MORE_PIXELS


def _shrink(image: Image.Image, most_pixels: int) -> Image.Image:
    """Shrink an image so that at most that many pixels remain. Palettes and bits become colours first."""
    factor = math.ceil(math.sqrt(image.width * image.height / most_pixels))
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    return image.reduce(factor) if factor > 1 else image


def _to_rgb(image: Image.Image, profile: Profile | None) -> Image.Image:
    """Convert colours to sRGB, and put transparent pixels on white."""
    if image.mode != "RGBA":
        return to_srgb(image, profile)
    rgb = to_srgb(image.convert("RGB"), profile)
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(rgb, mask=image.getchannel("A"))
    return canvas
