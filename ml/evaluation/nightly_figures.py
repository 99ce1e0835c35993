"""Measure the figures of the nightly check other than accuracy: the rows of ml.figures.NIGHTLY."""

import logging
from collections.abc import Mapping, Sequence

from ml.app import Workspace, load_version
from ml.catalog.models import evaluations
from ml.catalog.models.evaluations import Evaluation
from ml.data.evaluation_sets import EvaluationItem, load_evaluation_set
from ml.errors import ImageStoreError, ModelLoadError
from ml.evaluation.robustness import ROBUSTNESS_PREFIX, measure_robustness

logger = logging.getLogger(__name__)


def measure_night(workspace: Workspace, deciding: Evaluation) -> Mapping[str, float]:
    """Measure every nightly figure that the task has.

    An earlier check of the same version on the same evaluation set has measured the distorted photos already.

    Args: deciding, the champion's evaluation that the floor applies to.
    Returns: name -> value. A figure that could not be measured is missing; the next night tries again.
    """
    version, set_version = deciding.model_version, deciding.evaluation_set_version
    with workspace.catalog.begin() as connection:
        known = evaluations.find_figures(connection, version, set_version)
        members = load_evaluation_set(connection, set_version)
    wanted = workspace.task.nightly_figures
    of_part = [member for member in members if member.part == deciding.part]
    shown = [member for member in of_part if member.annotation.is_known(deciding.per_class)]
    measured = {
        **deciding.figures,
        "precision_macro": deciding.precision_macro,
        "recall_macro": deciding.recall_macro,
        "f1_macro": deciding.f1_macro,
    }
    distorted = [name for name in wanted if name.startswith(ROBUSTNESS_PREFIX)]
    if known.keys() >= set(distorted):
        measured |= {name: known[name] for name in distorted}
    else:
        measured |= _measure_robustness(workspace, version, shown)
    return {name: value for name, value in measured.items() if name in wanted and value is not None}


def _measure_robustness(workspace: Workspace, version: int, shown: Sequence[EvaluationItem]) -> Mapping[str, float]:
    try:
        return measure_robustness(workspace.catalog, workspace.task, load_version(workspace, version), shown)
    except (ImageStoreError, ModelLoadError) as error:  # the other figures come from stored results
        logger.warning("The accuracy on distorted photos was not measured: %s", error)
        return {}
