"""Read a HEIC, the format of iPhones, through libheif."""

from io import BytesIO

import pi_heif
from PIL import Image

from ml.ingest.pictures.picture_files import MOST_PROFILE_BYTES, PictureFile, damaged_error


def read_heic(content: bytes) -> PictureFile:
    """Read a HEIC. If it has several pictures, such as a burst, its primary one counts.

    Raises: InvalidImageError, unreadable.
    """
    primary = _primary(content)
    width, height = primary.size
    profile = primary.info.get("icc_profile")
    usable = profile if profile and len(profile) <= MOST_PROFILE_BYTES else None
    return PictureFile("HEIC", content, width, height, icc_profile=usable)


def decode_heic(content: bytes) -> Image.Image:
    """Decode the primary picture, upright: libheif applies its orientation."""
    image: Image.Image = _primary(content).to_pillow()
    image.info = {}
    return image


def _primary(content: bytes) -> pi_heif.HeifImage:
    try:
        file = pi_heif.open_heif(BytesIO(content))
        return file[file.primary_index]
    except MemoryError:
        raise
    except Exception as error:  # decoders of hostile files raise anything
        raise damaged_error("HEIC") from error
