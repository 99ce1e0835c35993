"""Copies of a photo are found whatever was done to it, and other photos are not called copies."""

import random
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from ml.data.copies import copy_hashes
from ml.data.copies.copy_comparison import copy_evidence
from ml.data.copies.copy_hashes import SOUGHT_AMONG, sought_hashes, stored_hashes
from ml.data.copies.image_statistics import measure
from ml.data.copies.thumbnails import Grey, as_grey
from ml.ingest.digits import write_digits

PAIRS = 20
Change = Callable[[Image.Image, random.Random], Image.Image]


def scene(seed: int, size: tuple[int, int] = (240, 180)) -> Image.Image:
    """A picture with shapes at every scale, as photos have them."""
    draw = random.Random(seed)
    noise = np.random.default_rng(seed)
    image = Image.new("RGB", size)
    for cells, share in (((6, 5), 1.0), ((24, 18), 0.3), ((80, 60), 0.15)):
        small = noise.integers(0, 256, (*cells[::-1], 3), dtype=np.uint8)
        image = Image.blend(image, Image.fromarray(small).resize(size, Image.Resampling.BICUBIC), share)
    pen = ImageDraw.Draw(image)
    for _ in range(25):
        x, y, reach = draw.uniform(0, size[0]), draw.uniform(0, size[1]), draw.uniform(4, 40)
        pen.ellipse((x, y, x + reach, y + reach * draw.uniform(0.4, 2)), fill=tuple(draw.choices(range(256), k=3)))
    return image.filter(ImageFilter.GaussianBlur(1))


def grey(image: Image.Image) -> Grey:
    buffer = BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return as_grey(measure(buffer.getvalue()).thumbnail)


def encode(image: Image.Image, file_format: str, **options: object) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return Image.open(BytesIO(buffer.getvalue())).convert("RGB")


def cut(image: Image.Image, draw: random.Random) -> Image.Image:
    """A tenth less of each side, from anywhere."""
    left, top = draw.random() * 0.1 * image.width, draw.random() * 0.1 * image.height
    return image.crop((int(left), int(top), int(left + 0.9 * image.width), int(top + 0.9 * image.height)))


CHANGES: dict[str, Change] = {
    "as WebP": lambda image, draw: encode(image, "WEBP", quality=draw.randint(20, 80)),
    "as JPEG, smaller": lambda image, draw: encode(image.resize((101, 77)), "JPEG", quality=draw.randint(30, 80)),
    "in few colours": lambda image, _: image.quantize(64).convert("RGB"),
    "grey": lambda image, _: ImageOps.grayscale(image),
    "turned": lambda image, draw: image.rotate(draw.choice([90, 180, 270]), expand=True),
    "mirrored and turned": lambda image, draw: ImageOps.mirror(image).rotate(draw.choice([0, 90]), expand=True),
    "cut": cut,
    "cut and turned": lambda image, draw: cut(image, draw).rotate(270, expand=True),
    "cut at one side": lambda image, _: image.crop((image.width // 10, 0, image.width, image.height)),
    "squeezed": lambda image, draw: image.resize((240, draw.randint(130, 260))),
    "tilted": lambda image, draw: image.rotate(draw.uniform(-2, 2), Image.Resampling.BICUBIC),
    "lighter": lambda image, _: image.point([int(255 * (value / 255) ** 0.7) for value in range(256)] * 3),
    "softer": lambda image, _: image.filter(ImageFilter.GaussianBlur(2)),
}


def is_proposed(first: Grey, second: Grey) -> bool:
    stored = stored_hashes(second)
    return any(
        found.kind in SOUGHT_AMONG[sought.kind]
        and any((one ^ other).bit_count() <= 1 for one, other in zip(sought.words, found.words, strict=True))
        and (sought.bits ^ found.bits).bit_count() <= copy_hashes.MOST_BITS
        for sought in sought_hashes(first)
        for found in stored
    )


def evidence(first: Grey, second: Grey, mirrored: bool = True) -> float:
    return float(copy_evidence(first, [second], mirrored)[0])


def called_copies(greys: list[Grey]) -> int:
    """How many pairs are."""
    return sum(int((copy_evidence(one, greys[:index], mirrored=True) >= 1).sum()) for index, one in enumerate(greys))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("is_stored", [True, False], ids=["the original is stored", "the copy is stored"])
def test_a_copy_is_proposed_and_recognised_whichever_came_first(change: str, is_stored: bool) -> None:
    draw = random.Random(7)
    found = 0
    for seed in range(PAIRS):
        original = scene(seed)
        pair = [grey(CHANGES[change](original, draw)), grey(original)]
        sought, stored = pair if is_stored else pair[::-1]
        found += is_proposed(sought, stored) and evidence(sought, stored) >= 1
    assert found / PAIRS >= 0.95


def test_different_scenes_are_not_called_copies() -> None:
    greys = [grey(scene(seed)) for seed in range(100, 140)]
    assert called_copies(greys) == 0


def test_digits_of_one_kind_are_not_called_copies(tmp_path: Path) -> None:
    folder = write_digits(tmp_path).first
    ones = [grey(Image.open(path)) for path in sorted((folder / "0").iterdir())[:30]]
    assert called_copies(ones) <= 2  # of 435; a zero is a circle


def test_a_mirror_image_is_a_copy_only_where_asked_for() -> None:
    image = scene(3)
    for change in (ImageOps.mirror, ImageOps.flip):
        pair = grey(change(image)), grey(image)
        assert evidence(*pair) >= 1
        assert evidence(*pair, mirrored=False) < 1
    assert evidence(grey(image.rotate(180)), grey(image), mirrored=False) >= 1


def test_an_even_surface_is_a_copy_of_nothing() -> None:
    white = grey(Image.new("RGB", (64, 64), "white"))
    assert evidence(white, white) == 0


def test_a_crop_of_a_corner_is_another_picture() -> None:
    image = scene(5)
    assert evidence(grey(image.crop((0, 0, 110, 80))), grey(image)) < 1
