"""What a model says of an item, as it is kept."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Answer:
    """One model version's answer to one item. What is sorted, filtered or drawn has a field; the task reads `detail`.

    Args:
        top_class: the class that the model is surest of; None where it finds none.
        confidence: how sure it is of its answer, 0 to 1.
        margin: how far `top_class` is ahead of the next, 0 to 1.
        probabilities: of each class, float32 (classes,), in the order of the version's classes.
        novelty: how unlike all known classes the item is; None where that is not measured.
        detail: what the fields do not say, as JSON; None where they say all.
    """

    top_class: str | None
    confidence: float
    margin: float
    probabilities: NDArray[np.float32]
    novelty: float | None = None
    detail: dict[str, object] | None = None
