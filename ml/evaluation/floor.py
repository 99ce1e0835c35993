"""Decide which figures of a model are below their floors. All other code reads this decision.

The decision is made and stored with each evaluation. The nightly check stores the decision of its evaluation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ml.catalog.models.evaluations import Shortfall
from ml.settings import Settings
from ml.tasks.registered_tasks import find_task


@dataclass(frozen=True)
class Floor:
    """The figures that a model in production should reach, 0 to 1.

    Args:
        main: floor of the task's main figure, over all classes.
        recalls: class name -> floor of its recall, for the classes that have one.
        figure: name of the main figure.
    """

    main: float
    recalls: Mapping[str, float] = field(default_factory=dict)
    figure: str = "accuracy"

    def shortfalls(self, main: float, recalls: Mapping[str, float]) -> list[Shortfall]:
        """Return the figures below their floors, the main one first. A figure that equals its floor is not below it.

        Args: main, the main figure; recalls, of the classes that have images.
        """
        compared = [Shortfall(None, main, self.main, self.figure)]
        compared += [
            Shortfall(label, recalls[label], floor, "recall")
            for label, floor in sorted(self.recalls.items())
            if label in recalls
        ]
        return [each for each in compared if each.value < each.floor]

    def states(self, shortfalls: Sequence[Shortfall], recalls: Mapping[str, float]) -> dict[str | None, bool]:
        """Return for each class that was compared, and for None (all classes), whether it is below its floor.

        Args: shortfalls, as decided; recalls, of the classes that have images.
        """
        below = {shortfall.label for shortfall in shortfalls}
        return {label: label in below for label in (None, *sorted(self.recalls.keys() & recalls.keys()))}

    def describe(self) -> str:
        """State all floors in one sentence."""
        of_classes = [f", of {label} a recall of {floor:.1%}" for label, floor in sorted(self.recalls.items())]
        return f"The floor is {self.main:.1%}{''.join(of_classes)}."

    def describe_unmeasured(self, recalls: Mapping[str, float]) -> list[str]:
        """Name the classes that have a floor but no recall, in one sentence; empty if there are none."""
        labels = sorted(self.recalls.keys() - recalls.keys())
        if not labels:
            return []
        return [
            f"MYCOFLOW_CLASS_FLOORS names {', '.join(labels)}: the model does not know such a class, or the evaluation "
            "set has no image of it. Its floor was not checked."
        ]


def floor_of(settings: Settings) -> Floor:
    """Return the floors in the settings."""
    return Floor(settings.accuracy_floor, settings.class_floors, find_task(settings.task).main_figure)


def measured_recalls(per_class: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the recalls of classes that have images: without images, recall is 0 by definition.

    Args: per_class, label -> {image_count, recall, ...}.
    """
    return {label: figures["recall"] for label, figures in per_class.items() if figures["image_count"]}
