"""What an item is said to show."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Annotation:
    """What a person or a model says of an item. The task alone reads `detail`; everybody else reads the class names.

    Args:
        class_names: for balancing, filtering and counting: one of a classified item, several of one with several
            labels, one per box of a detection.
        detail: what the names do not say, as JSON; None where they say all.
    """

    class_names: tuple[str, ...]
    detail: dict[str, object] | None = None

    def is_known(self, classes: Collection[str]) -> bool:
        """Whether a model with these classes can be right about all that is said."""
        return set(self.class_names) <= set(classes)
