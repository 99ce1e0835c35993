"""The annotation of an item: the classes that it shows, according to a person or a model."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ml.catalog.class_names import ClassSpellings, read_class_name


@dataclass(frozen=True)
class Annotation:
    """The annotation of one item. Only the task reads `detail`; all other code reads the class names.

    Args:
        class_names: used for balancing, filtering and counting. One name in classification, several in multi-label
            classification, one per box in detection.
        detail: the rest of the annotation, as JSON; None if the names hold everything.
    """

    class_names: tuple[str, ...]
    detail: dict[str, object] | None = None

    def is_known(self, classes: Collection[str]) -> bool:
        """Return whether a model with these classes can predict all class names."""
        return set(self.class_names) <= set(classes)

    @property
    def label(self) -> str:
        """The class names as text for people, separated by commas."""
        return ", ".join(self.class_names)

    def settle(self, spellings: ClassSpellings) -> "Annotation":
        """Return the annotation with the spellings that are in use."""
        return replace(self, class_names=tuple(dict.fromkeys(map(spellings.settle, self.class_names))))

    def columns(self) -> dict[str, Any]:
        """Return the values of a table's columns `class_names` and `annotation`."""
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

        Raises: LabelError, the task cannot read it, or `ml.catalog.class_names` refuses a name in it.
        """


class OneClass:
    """An item has one class, and a label is its name."""

    is_exclusive = True

    def read_label(self, label: str, /) -> Annotation:
        return Annotation((read_class_name(label),))


ONE_CLASS = OneClass()


def read_annotation(class_names: Sequence[str], detail: dict[str, object] | None) -> Annotation:
    """Return the annotation that the two columns of a table hold."""
    return Annotation(tuple(class_names), detail)


def label_of(annotation: Annotation | None) -> str | None:
    """Return an annotation's class names as text for people; None without an annotation."""
    return None if annotation is None else annotation.label
