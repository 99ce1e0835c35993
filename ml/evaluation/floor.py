"""Is a model good enough? The one place that decides what is below the floor; everybody else reads the decision.

It is made when an evaluation is stored, and kept with it; the nightly check keeps that of the evaluation it stands on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ml.catalog.models.evaluations import Shortfall
from ml.settings import Settings
from ml.tasks.registered import find_task


@dataclass(frozen=True)
class Floor:
    """What a model in production should reach, 0 to 1.

    Args:
        main: of the task's main figure, over all classes.
        recalls: class name -> recall, of the classes that have a floor of their own.
        figure: name of the main figure.
    """

    main: float
    recalls: Mapping[str, float] = field(default_factory=dict)
    figure: str = "accuracy"

    def shortfalls(self, main: float, recalls: Mapping[str, float]) -> list[Shortfall]:
        """Return the figures below their floors, the main one first. A figure that equals its floor is not below it.

        Args: recalls, of the classes that have images.
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
        """Name the classes that have a floor and no recall to compare with it, in one sentence; empty without any."""
        labels = sorted(self.recalls.keys() - recalls.keys())
        if not labels:
            return []
        return [
            f"MYCOFLOW_CLASS_FLOORS names {', '.join(labels)}: the model does not know such a class, or the evaluation "
            "set has no image of it. Nothing was compared."
        ]


def floor_of(settings: Settings) -> Floor:
    """The floor that a deployment chose."""
    return Floor(settings.accuracy_floor, settings.class_floors, find_task(settings.task).main_figure)


def measured_recalls(per_class: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The recalls of classes that have images: without one, recall is 0 by definition.

    Args: per_class, label -> {image_count, recall, ...}.
    """
    return {label: figures["recall"] for label, figures in per_class.items() if figures["image_count"]}
