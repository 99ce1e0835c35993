"""A bounded number of images that still shows every class, always the same ones."""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol, TypeVar


class Labelled(Protocol):
    """An image of a snapshot or of an evaluation set."""

    @property
    def sha256(self) -> str:
        """Of its bytes."""

    @property
    def label(self) -> str:
        """Its class."""


LabelledImage = TypeVar("LabelledImage", bound=Labelled)


def take_evenly(images: Iterable[LabelledImage], count: int) -> list[LabelledImage]:
    """Take images in turn from each class, in the order of their hashes, which is as good as drawing lots.

    Args:
        images: any number.
        count: how many to take, all where there are no more.
    """
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, str, LabelledImage]] = []
    for image in sorted(images, key=lambda image: image.sha256):
        ranked.append((seen[image.label], image.sha256, image))
        seen[image.label] += 1
    return [image for _, _, image in sorted(ranked, key=lambda each: each[:2])[:count]]
