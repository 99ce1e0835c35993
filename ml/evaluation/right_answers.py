"""The confidence of a version's answers to a part of the evaluation set, and whether each is right."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.catalog.database import Catalog
from ml.catalog.logs.results import load_results
from ml.data.evaluation_sets import load_evaluation_set
from ml.tasks.task import Task


@dataclass(frozen=True, eq=False)
class RightAnswers:
    """The answers to n images. Args: confidences, 0 to 1, (n,); right, whether each answer is right, (n,)."""

    confidences: NDArray[np.float64]
    right: NDArray[np.bool_]


def read_right_answers(
    catalog: Catalog, task: Task, version: int, evaluation_set_version: int, part: str, classes: Collection[str]
) -> RightAnswers | None:
    """Read the stored answers of a version to the images of its classes in one part of an evaluation set.

    Returns: None if an answer of the task is not simply right or wrong, or if none is stored.
    """
    if not task.counts_right_answers:
        return None
    with catalog.begin() as connection:
        members = load_evaluation_set(connection, evaluation_set_version)
        annotations = {member.item_id: member.annotation for member in members if member.part == part}
        answers = load_results(connection, version, list(annotations))
    shown = [item_id for item_id in answers if annotations[item_id].is_known(classes)]
    if not shown:
        return None
    scores = task.score([annotations[each] for each in shown], [answers[each] for each in shown])
    return RightAnswers(np.array([answers[each].confidence for each in shown]), scores.items == 1)
