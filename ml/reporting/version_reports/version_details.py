"""One model version: its origin, its figures, the gate's verdict, and what its training was like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ml.app import Workspace
from ml.catalog.items.item_records import is_not_erased
from ml.catalog.models.attempts import Attempt, find_attempt_of_version
from ml.catalog.models.backbone_records import StoredBackbone, find_backbone_of_version
from ml.catalog.models.evaluations import Evaluation, latest_evaluation
from ml.catalog.models.model_versions import ModelVersion, find_model_version
from ml.catalog.models.verdicts import StoredVerdict, verdicts_by_version
from ml.catalog.tables import evaluation_set_items, items, results
from ml.confidence.calibration import CalibrationError, ReliabilityBin, divide_into_bins, measure_calibration
from ml.errors import UnknownVersionError
from ml.evaluation.right_answers import read_right_answers
from ml.registry.run_links import run_url
from ml.reporting.health import PartFigures, latest_parts
from ml.reporting.inventory import ModelSummary, list_models

MOST_CONFUSIONS = 20


@dataclass(frozen=True)
class Confusion:
    """Images of one class that the version took for another."""

    true_class: str
    predicted_class: str
    count: int


@dataclass(frozen=True)
class VersionDetails:
    """What there is to know about a version. A part is None or empty if it does not exist.

    Args:
        champion: the version in production; None if there is none.
        facts: None for a version that was registered in MLflow and never used here.
        parts: the latest figures on each part of the evaluation set.
        attempt: the training that made it; None if it was trained elsewhere.
        run_page: address of its run in MLflow, if MLflow has a web address in the settings.
    """

    summary: ModelSummary
    champion: ModelSummary | None
    facts: ModelVersion | None
    parts: Sequence[PartFigures]
    verdict: StoredVerdict | None
    attempt: Attempt | None
    backbone: StoredBackbone | None
    run_page: str | None

    @property
    def deciding(self) -> PartFigures | None:
        """The part that the floor and the gate use; None before the first evaluation."""
        return next((part for part in self.parts if part.is_deciding), None)

    def list_confusions(self) -> list[Confusion]:
        """Return the most frequent confusions on the deciding part, the most frequent first."""
        if self.facts is None or self.deciding is None or self.deciding.confusion is None:
            return []
        names = self.facts.classes
        found = [
            Confusion(names[row], names[column], count)
            for row, counts in enumerate(self.deciding.confusion)
            for column, count in enumerate(counts)
            if count and row != column
        ]
        return sorted(found, key=lambda each: (-each.count, each.true_class, each.predicted_class))[:MOST_CONFUSIONS]


@dataclass(frozen=True)
class Reliability:
    """How far the confidences on the deciding part are right. Args: error, None for too few images."""

    bins: Sequence[ReliabilityBin]
    error: CalibrationError | None


@dataclass(frozen=True)
class AnsweredItem:
    """An item of the evaluation set with a version's answer. Args: image_sha256, None for an item without a photo."""

    item_id: str
    image_sha256: str | None
    confidence: float


def read_version(workspace: Workspace, version: int) -> VersionDetails:
    """Read what there is to know about a version.

    Raises: UnknownVersionError, the registry has no such version.
    """
    summary, champion = find_summaries(workspace, version)
    with workspace.catalog.begin() as connection:
        facts = find_model_version(connection, version)
        return VersionDetails(
            summary=summary,
            champion=champion,
            facts=facts,
            parts=latest_parts(connection, version),
            verdict=verdicts_by_version(connection).get(version),
            attempt=find_attempt_of_version(connection, version),
            backbone=find_backbone_of_version(connection, version),
            run_page=None if facts is None else run_url(workspace.settings, facts.mlflow_run_id),
        )


def find_summaries(workspace: Workspace, version: int) -> tuple[ModelSummary, ModelSummary | None]:
    """Return the lines of a version and of the one in production in the list of models; None if there is no such one.

    Raises: UnknownVersionError, the registry has no such version.
    """
    models = list_models(workspace)
    found = next((model for model in models if model.version == version), None)
    if found is None:
        raise UnknownVersionError(f"Expected a version of the registry, got {version}.")
    return found, next((model for model in models if model.is_champion), None)


def read_curves(workspace: Workspace, version: int) -> Mapping[str, Sequence[float]]:
    """Read the figures that the version's training logged for each epoch. Returns: name -> values, from epoch 0.

    Raises: RegistryUnavailableError, RegistryStateError.
    """
    with workspace.catalog.begin() as connection:
        facts = find_model_version(connection, version)
    return {} if facts is None else workspace.registry.read_curves(facts.mlflow_run_id)


def read_reliability(workspace: Workspace, version: int) -> Reliability | None:
    """Compare the confidences of the answers to the deciding part with the share that is right.

    Returns: None if the version is not scored, or the task's answers are not simply right or wrong.
    """
    evaluation = _latest(workspace, version)
    if evaluation is None:
        return None
    found = read_right_answers(
        workspace.catalog,
        workspace.task,
        version,
        evaluation.evaluation_set_version,
        evaluation.part,
        evaluation.per_class,
    )
    if found is None:
        return None
    return Reliability(
        divide_into_bins(found.confidences, found.right), measure_calibration(found.confidences, found.right)
    )


def list_confused(workspace: Workspace, version: int, true_class: str, predicted_class: str) -> list[AnsweredItem]:
    """List the items of one cell of the confusion matrix of the latest evaluation, the surest answer first."""
    evaluation = _latest(workspace, version)
    if evaluation is None:
        return []
    member = evaluation_set_items.c
    query = (
        sa.select(items.c.id, items.c.image_sha256, results.c.confidence)
        .join_from(evaluation_set_items, items, items.c.id == member.item_id)
        .join(results, results.c.item_id == items.c.id)
        .where(
            member.version == evaluation.evaluation_set_version,
            member.part == evaluation.part,
            member.class_names == [true_class],
            results.c.model_version == version,
            results.c.top_class == predicted_class,
            is_not_erased(),
        )
        .order_by(results.c.confidence.desc(), items.c.id)
    )
    with workspace.catalog.begin() as connection:
        return [AnsweredItem(*row) for row in connection.execute(query)]


def _latest(workspace: Workspace, version: int) -> Evaluation | None:
    with workspace.catalog.begin() as connection:
        return latest_evaluation(connection, version)
