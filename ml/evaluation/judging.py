"""Put challenger and champion before the gate, with their answers to one and the same evaluation set."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml.app import Workspace, load_version, remember_version
from ml.catalog.answers import Answer
from ml.catalog.logs.results import load_results
from ml.catalog.models import evaluations, journal, model_versions
from ml.catalog.models.attempts import StoredVerdict
from ml.catalog.models.evaluations import Evaluation
from ml.data.evaluation_sets import EvaluationItem, deciding_part, group_keys, load_evaluation_set
from ml.errors import EvaluationSetError, ModelLoadError, UnknownVersionError
from ml.evaluation.floor import floor_of
from ml.evaluation.gate import BestVersion, Comparison, Verdict, judge, judge_first
from ml.evaluation.scoring import score_version
from ml.tasks.base import Scores, Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Answers:
    """What a version said of the evaluation set, by the image's hash."""

    task: Task
    classes: list[str]
    answers: Mapping[str, Answer]

    def score(self, members: Sequence[EvaluationItem]) -> Scores:
        """How well it answered some images, one or more; one that it did not answer it does not know."""
        return self.task.score(
            [member.annotation for member in members], [self.answers.get(member.item_id) for member in members]
        )


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
        challenger_figure=ours.main_figure if comparison is None else comparison.challenger.main,
        champion_figure=None if comparison is None else comparison.champion.main,
    )


def describe_verdict(verdict: StoredVerdict, main_figure: str) -> str:
    """A verdict for a person who decides, in Markdown. Args: main_figure, the task's."""
    champion = "none" if verdict.champion_version is None else f"version {verdict.champion_version}"
    figure = "" if verdict.champion_figure is None else f"{verdict.champion_figure:.1%}"
    return "\n".join(
        [
            f"| | version | {main_figure} |",
            "|---|---|---|",
            f"| challenger | version {verdict.model_version} | {verdict.challenger_figure:.1%} |",
            f"| in production | {champion} | {figure} |",
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
        workspace.task.main_figure: f"{verdict.challenger_figure:.4f}",
    }
    workspace.registry.tag_version(verdict.model_version, tags)


def _judge(
    workspace: Workspace, challenger: int, champion: int | None, ours: Evaluation
) -> tuple[Verdict, Comparison | None]:
    try:
        load_version(workspace, challenger)
    except ModelLoadError as error:
        return Verdict("keep", [f"The challenger does not load and answer: {error}"], []), None
    if champion is None:
        return judge_first(ours.main_figure, ours.shortfalls), None
    score_version(workspace, champion, ours.evaluation_set_version)  # it may have changed since the evaluate step
    mine = _answers(workspace, challenger, ours.evaluation_set_version)
    theirs = _answers(workspace, champion, ours.evaluation_set_version)
    members = _deciding_members(workspace, ours.evaluation_set_version, theirs.classes)
    with workspace.catalog.begin() as connection:
        groups = group_keys(connection, [member.item_id for member in members])
        ours_until, theirs_until = (model_versions.knows_images_until(connection, v) for v in (challenger, champion))
    comparison = Comparison(
        mine.score(members), theirs.score(members), np.array([groups[member.item_id] for member in members])
    )
    best = _best_version(workspace, ours.evaluation_set_version, mine, members)
    recalls = _new_class_recalls(workspace, ours.evaluation_set_version, mine, theirs)
    return judge(comparison, ours_until > theirs_until, best, recalls, floor_of(workspace.settings)), comparison


def _answers(workspace: Workspace, version: int, evaluation_set_version: int) -> _Answers:
    classes = remember_version(workspace, version).classes
    with workspace.catalog.begin() as connection:
        members = load_evaluation_set(connection, evaluation_set_version)
        answers = load_results(connection, version, [member.item_id for member in members])
    return _Answers(workspace.task, classes, answers)


def _deciding_members(workspace: Workspace, evaluation_set_version: int, classes: list[str]) -> list[EvaluationItem]:
    """The images that the champion is measured on."""
    with workspace.catalog.begin() as connection:
        members = load_evaluation_set(connection, evaluation_set_version)
    known = [member for member in members if member.annotation.is_known(classes)]
    deciding = deciding_part(known)
    return [member for member in known if member.part == deciding]


def _best_version(
    workspace: Workspace, evaluation_set_version: int, mine: _Answers, members: Sequence[EvaluationItem]
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
        known = [member for member in members if member.annotation.is_known(theirs.classes)]
        if known:
            compared.append(BestVersion(version, theirs.score(known).main, mine.score(known).main))
    return max(compared, key=lambda each: each.figure - each.challenger_figure, default=None)


def _new_class_recalls(
    workspace: Workspace, evaluation_set_version: int, mine: _Answers, theirs: _Answers
) -> dict[str, float]:
    """How much of each class that the champion does not know the challenger recognises, both parts together."""
    with workspace.catalog.begin() as connection:
        members = load_evaluation_set(connection, evaluation_set_version)
    recalls = {}
    for label in sorted(set(mine.classes) - set(theirs.classes)):
        shown = [member for member in members if label in member.annotation.class_names]
        recalls[label] = float(np.nanmean(mine.score(shown).classes[label])) if shown else 0.0
    return recalls
