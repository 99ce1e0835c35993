"""What is refused among images that nobody looked at."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from ml.data.copies.image_statistics import measure
from ml.errors import InvalidImageError
from ml.ingest.photo_quality import REASONS, check_quality

Take = Callable[..., Image.Image]
Encode = Callable[..., bytes]


def refused(content: bytes) -> str | None:
    try:
        check_quality(measure(content))
    except InvalidImageError as error:
        assert error.reason in REASONS
        assert "expected" in str(error)
        return error.reason
    return None


def test_a_photo_passes(textured: Take, encode: Encode) -> None:
    assert refused(encode(textured(1), "PNG")) is None
    assert refused(encode(textured(2, (1200, 800)), "JPEG")) is None


def test_each_fault_is_named(textured: Take, encode: Encode) -> None:
    photo = textured(1, (640, 480))
    dark = ImageEnhance.Brightness(photo).enhance(0.06)
    grain = np.random.default_rng(0).normal(200, 2, (480, 640, 3)).astype(np.uint8)
    faults = {
        "too_dark": dark,
        "blank": Image.fromarray(grain),
        "blurred": photo.filter(ImageFilter.GaussianBlur(12)),
        "wrong_aspect": photo.crop((0, 0, 640, 120)),
    }
    assert {reason: refused(encode(image, "PNG")) for reason, image in faults.items()} == {
        name: name for name in faults
    }


def test_a_black_picture_is_called_dark(encode: Encode) -> None:
    assert refused(encode(Image.new("RGB", (64, 64)), "PNG")) == "too_dark"


@pytest.mark.parametrize("size", [(400, 300), (1600, 1200)])
def test_blur_is_recognised_at_any_resolution(size: tuple[int, int], textured: Take, encode: Encode) -> None:
    photo = textured(3, (400, 300)).resize(size, Image.Resampling.LANCZOS)
    assert refused(encode(photo, "JPEG")) is None
    assert refused(encode(photo.filter(ImageFilter.GaussianBlur(size[0] / 80)), "JPEG")) == "blurred"
