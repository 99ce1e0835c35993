"""The figures of a challenger in shadow: on how many uploads it differs from the champion, and which one is right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.catalog.database import Catalog
from ml.catalog.models.model_versions import find_model_version
from ml.catalog.shadows.shadow_reading import (
    Change,
    Counts,
    DifferentPage,
    DifferentPhoto,
    NamedPhoto,
    count_answers,
    list_changes,
    load_named,
    query_different,
)
from ml.catalog.shadows.shadow_records import Shadow, find_shadow
from ml.confidence.estimation import Share, share_of
from ml.confidence.paired_scores import difference_p_value
from ml.errors import UnknownVersionError
from ml.evaluation.gate import SIGNIFICANCE
from ml.tasks.registered_tasks import find_task
from ml.tasks.task import Task

__all__ = ["DifferentPage", "DifferentPhoto", "Judged", "ShadowFigures", "Share", "read_different", "read_figures"]

_LARGEST_VERSION = 2**31 - 1  # of the database's integers


@dataclass(frozen=True)
class Judged:
    """How often each of the two models is right. Only photos that a person has labelled count.

    Args:
        photos: number of photos; no model has learned from any.
        champion, challenger: mean score of the answers, 0 to 1; in classification the share of right ones.
        p_value: how probable a difference as large as this is by chance; see ml.confidence.paired_scores.
    """

    photos: int
    champion: float
    challenger: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether the difference is more than chance, at the gate's level."""
        return self.p_value < SIGNIFICANCE


@dataclass(frozen=True)
class ShadowFigures:
    """The figures of a challenger in shadow.

    Args:
        different: share of the uploads on which the two models differ; None without uploads.
        fresh_different: the same, of the uploads from which no training of the two learned.
        of_sample: on the random sample of photos on which they differ, as far as people have named it; None if nobody
            has named any.
        of_named: on all photos that people have named. People look at answers that seem wrong to them, so this says
            more of the champion's mistakes than of the challenger's.
    """

    shadow: Shadow
    counts: Counts
    changes: Sequence[Change]
    different: Share | None
    fresh_different: Share | None
    of_sample: Judged | None
    of_named: Judged | None


def read_figures(catalog: Catalog, task_name: str, challenger: int) -> ShadowFigures | None:
    """Return the figures of a challenger; None if it was never compared on uploads.

    Args: task_name, MYCOFLOW_TASK.
    Raises: UnknownVersionError, no such version was registered here; DatabaseUnavailableError.
    """
    task = find_task(task_name)
    with catalog.begin() as connection:
        if challenger > _LARGEST_VERSION or find_model_version(connection, challenger) is None:
            raise UnknownVersionError(f"Expected a registered model version, got {challenger}. See `mycoflow models`.")
        shadow = find_shadow(connection, challenger)
        if shadow is None:
            return None
        counts, changes = count_answers(connection, challenger), list_changes(connection, challenger)
        named = load_named(connection, challenger)
    return ShadowFigures(
        shadow,
        counts,
        changes,
        different=_share(counts.different, counts.photos),
        fresh_different=_share(counts.fresh_different, counts.fresh),
        of_sample=_judge(task, [each for each in named if each.is_of_sample]),
        of_named=_judge(task, named),
    )


def read_different(
    catalog: Catalog, challenger: int, limit: int, cursor: str | None, change: tuple[str, str] | None = None
) -> DifferentPage:
    """Return one page of the photos on which the two models differ. Args: as in `query_different`.

    Raises: CursorError, DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        return query_different(connection, challenger, limit, cursor, change)


def _share(part: int, count: int) -> Share | None:
    return share_of(part, count) if count else None


def _judge(task: Task, named: Sequence[NamedPhoto]) -> Judged | None:
    if not named:
        return None
    annotations = [each.annotation for each in named]
    champion = task.score(annotations, [each.champion for each in named]).items
    challenger = task.score(annotations, [each.challenger for each in named]).items
    groups = np.array([each.group_key for each in named])
    p_value = difference_p_value(challenger, champion, groups)
    return Judged(len(named), float(champion.mean()), float(challenger.mean()), p_value)
