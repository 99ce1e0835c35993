"""Put challenger and champion before the gate, with their answers to one and the same evaluation set."""

import logging
from dataclasses import dataclass

import numpy as np

from ml.app import Workspace, load_classifier, remember_version
from ml.catalog.logs.results import load_results
from ml.catalog.models import evaluations, journal, model_versions
from ml.catalog.models.attempts import StoredVerdict
from ml.catalog.models.evaluations import Evaluation
from ml.data.evaluation_sets import deciding_part, group_keys, load_evaluation_set
from ml.errors import EvaluationSetError, ModelLoadError, UnknownVersionError
from ml.evaluation.floor import floor_of
from ml.evaluation.gate import BestVersion, Comparison, Verdict, judge, judge_first
from ml.evaluation.scoring import score_version

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Answers:
    """What a version said of the evaluation set: image hash -> class name."""

    classes: list[str]
    names: dict[str, str]

    def right(self, images: list[str], labels: list[str]) -> np.ndarray:
        """Whether it named each image right, (n,)."""
        return np.array([self.names.get(image) == label for image, label in zip(images, labels, strict=True)])


def judge_challenger(workspace: Workspace, challenger: int) -> StoredVerdict:
    """Let the gate compare a scored version with the champion of this moment. A version that does not load is kept out.

    Raises: EvaluationSetError, the challenger was not scored yet.
    """
    champion = workspace.registry.champion()
    with workspace.catalog.begin() as connection:
        ours = evaluations.latest_evaluation(connection, challenger)
    if ours is None:
        raise EvaluationSetError(f"Expected version {challenger} to be scored, and it is not. Run `mycoflow evaluate`.")
    verdict, comparison = _judge(workspace, challenger, champion, ours)
    return StoredVerdict(
        model_version=challenger,
        champion_version=champion,
        evaluation_set_version=ours.evaluation_set_version,
        decision=verdict.decision,
        reasons=verdict.reasons,
        warnings=verdict.warnings,
        challenger_accuracy=ours.accuracy if comparison is None else float(comparison.challenger.mean()),
        champion_accuracy=None if comparison is None else float(comparison.champion.mean()),
    )


def describe_verdict(verdict: StoredVerdict) -> str:
    """A verdict for a person who decides, in Markdown."""
    champion = "none" if verdict.champion_version is None else f"version {verdict.champion_version}"
    accuracy = "" if verdict.champion_accuracy is None else f"{verdict.champion_accuracy:.1%}"
    return "\n".join(
        [
            "| | version | accuracy |",
            "|---|---|---|",
            f"| challenger | version {verdict.model_version} | {verdict.challenger_accuracy:.1%} |",
            f"| in production | {champion} | {accuracy} |",
            "",
            *(f"- {line}" for line in [*verdict.reasons, *verdict.warnings]),
        ]
    )


def tell_verdict(workspace: Workspace, verdict: StoredVerdict) -> None:
    """Write a verdict into the log, and on the version in MLflow."""
    lines = [*verdict.reasons, *verdict.warnings]
    for line in lines:
        logger.info("%s: %s", verdict.decision, line)
    tags = {
        "verdict": verdict.decision,
        "verdict_reasons": " ".join(lines),
        "accuracy": f"{verdict.challenger_accuracy:.4f}",
    }
    workspace.registry.tag_version(verdict.model_version, tags)


def _judge(
    workspace: Workspace, challenger: int, champion: int | None, ours: Evaluation
) -> tuple[Verdict, Comparison | None]:
    try:
        load_classifier(workspace, challenger)
    except ModelLoadError as error:
        return Verdict("keep", [f"The challenger does not load and answer: {error}"], []), None
    if champion is None:
        return judge_first(ours.accuracy, ours.shortfalls), None
    score_version(workspace, champion, ours.evaluation_set_version)  # it may have changed since the evaluate step
    mine = _answers(workspace, challenger, ours.evaluation_set_version)
    theirs = _answers(workspace, champion, ours.evaluation_set_version)
    images, labels = _deciding_images(workspace, ours.evaluation_set_version, theirs.classes)
    with workspace.catalog.begin() as connection:
        groups = group_keys(connection, images)
        ours_until, theirs_until = (model_versions.knows_images_until(connection, v) for v in (challenger, champion))
    comparison = Comparison(
        np.array(labels),
        mine.right(images, labels),
        theirs.right(images, labels),
        np.array([groups[image] for image in images]),
    )
    best = _best_version(workspace, ours.evaluation_set_version, mine, images, labels)
    recalls = _new_class_recalls(workspace, ours.evaluation_set_version, mine, theirs)
    return judge(comparison, ours_until > theirs_until, best, recalls, floor_of(workspace.settings)), comparison


def _answers(workspace: Workspace, version: int, evaluation_set_version: int) -> _Answers:
    classes = remember_version(workspace, version).classes
    with workspace.catalog.begin() as connection:
        members = load_evaluation_set(connection, evaluation_set_version)
        results = load_results(connection, version, [member.item_id for member in members])
    return _Answers(classes, {sha256: classes[int(values.argmax())] for sha256, values in results.items()})


def _deciding_images(
    workspace: Workspace, evaluation_set_version: int, classes: list[str]
) -> tuple[list[str], list[str]]:
    """The images and labels that the champion is measured on."""
    with workspace.catalog.begin() as connection:
        members = load_evaluation_set(connection, evaluation_set_version)
    known = [member for member in members if member.annotation.label in classes]
    deciding = deciding_part(known)
    chosen = [member for member in known if member.part == deciding]
    return [member.item_id for member in chosen], [member.annotation.label for member in chosen]


def _best_version(
    workspace: Workspace, evaluation_set_version: int, mine: _Answers, images: list[str], labels: list[str]
) -> BestVersion | None:
    """The version, of those that ever were in production, that the challenger is farthest behind."""
    with workspace.catalog.begin() as connection:
        versions = journal.versions_ever_in_production(connection)
    compared = []
    for version in versions:
        try:
            score_version(workspace, version, evaluation_set_version)
        except (ModelLoadError, UnknownVersionError, EvaluationSetError) as error:
            logger.warning("Version %s, once in production, is not compared with: %s", version, error)
            continue
        theirs = _answers(workspace, version, evaluation_set_version)
        known = np.array([label in theirs.classes for label in labels])
        if known.any():
            accuracies = (float(each.right(images, labels)[known].mean()) for each in (theirs, mine))
            compared.append(BestVersion(version, *accuracies))
    return max(compared, key=lambda each: each.accuracy - each.challenger_accuracy, default=None)


def _new_class_recalls(
    workspace: Workspace, evaluation_set_version: int, mine: _Answers, theirs: _Answers
) -> dict[str, float]:
    """How much of each class that the champion does not know the challenger recognises, both parts together."""
    with workspace.catalog.begin() as connection:
        members = load_evaluation_set(connection, evaluation_set_version)
    recalls = {}
    for label in sorted(set(mine.classes) - set(theirs.classes)):
        images = [member.item_id for member in members if member.annotation.label == label]
        recalls[label] = float(mine.right(images, [label] * len(images)).mean()) if images else 0.0
    return recalls
