"""Apply colour profiles: networks, and programs without colour management, take all pixels for sRGB."""

from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

_SAME = 2  # levels of 255 that rounding may differ by
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}

Profile = ImageCms.ImageCmsProfile


def open_profile(content: bytes | None) -> Profile | None:
    """Open an ICC profile. Return None for sRGB, and for a damaged profile, without which the pixels are sRGB too."""
    if not content:
        return None
    try:
        profile = ImageCms.getOpenProfile(BytesIO(content))
        return None if _is_srgb(profile) else profile
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def to_srgb(image: Image.Image, profile: Profile | None) -> Image.Image:
    """Convert an image without transparency to RGB, and its colours from a profile to sRGB.

    A profile of another colour space than the image's is not the image's, so it is left out.
    """
    if profile is None:
        return image.convert("RGB")
    mode = _MODES.get(profile.profile.xcolor_space)
    if mode != image.mode and not (mode == "RGB" and image.mode == "L"):
        return image.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(image.convert(mode), profile, _srgb(), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image.convert("RGB")
    return converted if converted is not None else image.convert("RGB")


@cache
def _srgb() -> Profile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _is_srgb(profile: Profile) -> bool:
    """Whether a profile changes no colour visibly. Its name would not tell: anybody can write one."""
    if profile.profile.xcolor_space != "RGB ":
        return False
    steps = np.linspace(0, 255, 6).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    converted = to_srgb(Image.fromarray(colours), profile)
    return int(np.abs(np.asarray(converted).astype(int) - colours).max()) <= _SAME
