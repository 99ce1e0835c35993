"""What is refused among images that nobody looked at."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from ml.data.image_statistics import look_at
from ml.data.near_copies import KnownLooks
from ml.errors import InvalidImageError
from ml.ingest.photo_quality import REASONS, check_quality

Take = Callable[..., Image.Image]
Encode = Callable[..., bytes]


def refused(content: bytes) -> str | None:
    try:
        check_quality(look_at(content))
    except InvalidImageError as error:
        assert error.reason in REASONS
        assert "expected" in str(error)
        return error.reason
    return None


def looks_of(*contents: bytes) -> KnownLooks:
    return KnownLooks([(f"image {number}", look_at(content).phash, False) for number, content in enumerate(contents)])


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


@pytest.mark.parametrize("copy", ["smaller", "recompressed", "brighter", "trimmed"])
def test_a_copy_that_is_not_the_same_file_is_recognised(copy: str, textured: Take, encode: Encode) -> None:
    photo = textured(4, (640, 480))
    copies = {
        "smaller": encode(photo.resize((320, 240)), "PNG"),
        "recompressed": encode(photo, "JPEG", quality=40),
        "brighter": encode(ImageEnhance.Brightness(photo).enhance(1.15), "PNG"),
        "trimmed": encode(photo.crop((4, 3, 636, 477)), "PNG"),
    }
    with pytest.raises(InvalidImageError, match="bits between perceptual hashes") as refusal:
        looks_of(encode(photo, "PNG")).check(look_at(copies[copy]).phash)
    assert refusal.value.reason == "near_duplicate"


def test_different_photos_are_not_taken_for_copies(textured: Take, encode: Encode) -> None:
    known = looks_of(*(encode(textured(seed), "PNG") for seed in range(100)))
    refused = []
    for seed in range(100, 130):
        try:
            known.check(look_at(encode(textured(seed), "PNG")).phash)
        except InvalidImageError as error:
            refused.append((seed, str(error)))
    assert refused == []


def test_an_image_to_measure_with_is_named_before_any_other() -> None:
    known = KnownLooks([("in the pool", 0b0, False), ("held out", 0b11, True)])
    with pytest.raises(InvalidImageError, match="held out") as refusal:
        known.check(0b0)
    assert refusal.value.reason == "near_evaluation"


def test_what_was_added_is_known() -> None:
    known = KnownLooks([])
    known.check(2**64 - 1)
    known.add("new", 2**64 - 1)
    with pytest.raises(InvalidImageError, match="new"):
        known.check(2**64 - 1)
