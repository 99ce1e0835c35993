"""A model's answer for an item, as the catalog stores it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Answer:
    """One model version's answer for one item. Values that are sorted, filtered or drawn have a field of their own.

    Args:
        top_class: the class with the highest probability; None if the model finds no class.
        confidence: the model's confidence in its answer, 0 to 1.
        margin: difference between the probability of `top_class` and the next highest one, 0 to 1.
        probabilities: float32 (classes,), in the order of the version's classes.
        novelty: how unlike all known classes the item is, as a multiple of the version's threshold; None if it is not
            measured.
        detail: the rest of the answer, as JSON, which only the task reads; None if the fields hold everything.
    """

    top_class: str | None
    confidence: float
    margin: float
    probabilities: NDArray[np.float32]
    novelty: float | None = None
    detail: dict[str, object] | None = None

    @property
    def is_novel(self) -> bool:
        """Whether the item seems to show none of the known classes. False if novelty is not measured."""
        return is_novel(self.novelty)


def is_novel(novelty: float | None) -> bool:
    """Return whether an item with this novelty seems to show none of the known classes. Args: novelty, as in Answer."""
    return novelty is not None and novelty > 1
