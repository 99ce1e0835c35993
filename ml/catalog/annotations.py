"""What an item is said to show."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


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

    @property
    def label(self) -> str:
        """The class names as people read them; of a classified item, its class."""
        return ", ".join(self.class_names)

    def columns(self) -> dict[str, Any]:
        """What a table keeps of it."""
        return {"class_names": list(self.class_names), "annotation": self.detail}


class AnnotationReader(Protocol):
    """The part of a task that says what a label means. Folders, tables, people and exports write labels."""

    @property
    def is_exclusive(self) -> bool:
        """Whether an item has one class: the probabilities of an answer add up to one, and can be calibrated so."""

    def read_label(self, label: str, /) -> Annotation:
        """Make an annotation of the text that stands for it.

        What `Annotation.label` writes is read as the same class names; the texts that have more to say than names,
        such as boxes, are the task's.

        Raises: LabelError, the task cannot read it.
        """


class OneClass:
    """An item has one class, and a label is its name."""

    is_exclusive = True

    def read_label(self, label: str, /) -> Annotation:
        return Annotation((label,))


ONE_CLASS = OneClass()


def read_annotation(class_names: Sequence[str], detail: dict[str, object] | None) -> Annotation:
    """Make an annotation of the columns of a table."""
    return Annotation(tuple(class_names), detail)


def label_of(annotation: Annotation | None) -> str | None:
    """The class names as people read them; None where nothing is said."""
    return None if annotation is None else annotation.label
