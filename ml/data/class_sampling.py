"""Draw a limited, class-balanced and reproducible sample of items, and count items by class."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from ml.catalog.annotations import Annotation


class Labelled(Protocol):
    """An item of a snapshot or of an evaluation set."""

    @property
    def item_id(self) -> str:
        """The item's id."""

    @property
    def annotation(self) -> Annotation:
        """The item's annotation."""


LabelledItem = TypeVar("LabelledItem", bound=Labelled)


def take_evenly(items: Iterable[LabelledItem], count: int) -> list[LabelledItem]:
    """Take items from each class in turn, in the order of their ids. Ids are hashes, so their order is random.

    Args:
        items: an item with several classes counts for the rarest of them.
        count: number of items to take; all if there are fewer.
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
    """Count the items that show each class. An item that shows a class several times counts once."""
    return Counter(name for annotation in annotations for name in set(annotation.class_names))


def rarest_class(annotation: Annotation, counts: Mapping[str, int]) -> str | None:
    """Return the class that an item counts for: its class with the fewest items, or None without a class.

    Args: counts, class name -> number of items.
    """
    return min(annotation.class_names, key=lambda name: (counts.get(name, 0), name), default=None)
