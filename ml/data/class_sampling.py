"""A bounded number of items that still shows every class, always the same ones."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from ml.catalog.annotations import Annotation


class Labelled(Protocol):
    """An item of a snapshot or of an evaluation set."""

    @property
    def item_id(self) -> str:
        """What names it."""

    @property
    def annotation(self) -> Annotation:
        """What it shows."""


LabelledItem = TypeVar("LabelledItem", bound=Labelled)


def take_evenly(items: Iterable[LabelledItem], count: int) -> list[LabelledItem]:
    """Take items in turn from each class, in the order of their ids, which is as good as drawing lots.

    Args:
        items: any number; one that shows several classes counts for the one that fewest of them show.
        count: how many to take, all where there are no more.
    """
    ordered = sorted(items, key=lambda item: item.item_id)
    counts = count_items_by_class(item.annotation for item in ordered)
    seen: Counter[str | None] = Counter()
    ranked: list[tuple[int, str, LabelledItem]] = []
    for item in ordered:
        rarest = rarest_class(item.annotation, counts)
        ranked.append((seen[rarest], item.item_id, item))
        seen[rarest] += 1
    return [item for _, _, item in sorted(ranked, key=lambda each: each[:2])[:count]]


def count_items_by_class(annotations: Iterable[Annotation]) -> Counter[str]:
    """Count the items that show each class; one that shows it many times counts once."""
    return Counter(name for annotation in annotations for name in set(annotation.class_names))


def rarest_class(annotation: Annotation, counts: Mapping[str, int]) -> str | None:
    """The class that an item counts for: of those that it shows, the one that fewest items show; None without any."""
    return min(annotation.class_names, key=lambda name: (counts.get(name, 0), name), default=None)
