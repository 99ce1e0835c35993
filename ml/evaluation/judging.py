"""Let the gate compare challenger and champion, with their answers to the same evaluation set."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml.app import Workspace, load_version, remember_version
from ml.catalog.answers import Answer
from ml.catalog.logs.results import load_results
from ml.catalog.models import evaluations, journal, model_versions
from ml.catalog.models.evaluations import Evaluation
from ml.catalog.models.verdicts import StoredVerdict
from ml.data.evaluation_sets import EvaluationItem, deciding_part, group_keys, load_evaluation_set
from ml.errors import EvaluationSetError, ModelLoadError, UnknownVersionError
from ml.evaluation.floor import floor_of
from ml.evaluation.gate import BestVersion, Comparison, Verdict, judge, judge_first
from ml.evaluation.scoring import score_version
from ml.tasks.task import Scores, Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Answers:
    """The answers of a version to the evaluation set, by item id."""

    task: Task
    classes: list[str]
    answers: Mapping[str, Answer]

    def score(self, members: Sequence[EvaluationItem]) -> Scores:
        """Score the answers to some items, one or more. A missing answer means that the version knows no such class."""
        return self.task.score(
            [member.annotation for member in members], [self.answers.get(member.item_id) for member in members]
        )


def judge_challenger(workspace: Workspace, challenger: int) -> StoredVerdict:
    """Let the gate compare a scored version with the current champion. A version that does not load is not promoted.

    Raises: EvaluationSetError, the challenger was not scored yet.
    """
    champion = workspace.registry.champion()
    with workspace.catalog.begin() as connection:
        evaluation = evaluations.latest_evaluation(connection, challenger)
    if evaluation is None:
        raise EvaluationSetError(f"Expected version {challenger} to be scored, but it is not. Run `mycoflow evaluate`.")
    verdict, comparison = _judge(workspace, challenger, champion, evaluation)
    return StoredVerdict(
        model_version=challenger,
        champion_version=champion,
        evaluation_set_version=evaluation.evaluation_set_version,
        decision=verdict.decision,
        reasons=verdict.reasons,
        warnings=verdict.warnings,
        challenger_figure=evaluation.main_figure if comparison is None else comparison.challenger.main,
        champion_figure=None if comparison is None else comparison.champion.main,
    )


def describe_verdict(verdict: StoredVerdict, main_figure: str) -> str:
    """Describe a verdict in Markdown, for a person who decides. Args: main_figure, the name of that figure."""
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


def record_verdict(workspace: Workspace, verdict: StoredVerdict) -> None:
    """Write a verdict to the log, and to the tags of the version in MLflow."""
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
    workspace: Workspace, challenger: int, champion: int | None, evaluation: Evaluation
) -> tuple[Verdict, Comparison | None]:
    try:
        load_version(workspace, challenger)
    except ModelLoadError as error:
        return Verdict("keep", [f"The challenger does not load and answer: {error}"], []), None
    if champion is None:
        return judge_first(evaluation.main_figure, evaluation.shortfalls), None
    set_version = evaluation.evaluation_set_version
    score_version(workspace, champion, set_version)  # the champion may have changed since the evaluate step
    challenger_answers = _answers(workspace, challenger, set_version)
    champion_answers = _answers(workspace, champion, set_version)
    members = _deciding_members(workspace, set_version, champion_answers.classes)
    with workspace.catalog.begin() as connection:
        groups = group_keys(connection, [member.item_id for member in members])
        challenger_until, champion_until = (
            model_versions.knows_images_until(connection, v) for v in (challenger, champion)
        )
    comparison = Comparison(
        challenger_answers.score(members),
        champion_answers.score(members),
        np.array([groups[member.item_id] for member in members]),
    )
    best = _best_version(workspace, set_version, challenger_answers, members)
    recalls = _new_class_recalls(workspace, set_version, challenger_answers, champion_answers)
    return judge(comparison, challenger_until > champion_until, best, recalls, floor_of(workspace.settings)), comparison


def _answers(workspace: Workspace, version: int, evaluation_set_version: int) -> _Answers:
    classes = remember_version(workspace, version).classes
    with workspace.catalog.begin() as connection:
        members = load_evaluation_set(connection, evaluation_set_version)
        answers = load_results(connection, version, [member.item_id for member in members])
    return _Answers(workspace.task, classes, answers)


def _deciding_members(workspace: Workspace, evaluation_set_version: int, classes: list[str]) -> list[EvaluationItem]:
    """Return the items on which the champion is measured."""
    with workspace.catalog.begin() as connection:
        members = load_evaluation_set(connection, evaluation_set_version)
    known = [member for member in members if member.annotation.is_known(classes)]
    deciding = deciding_part(known)
    return [member for member in known if member.part == deciding]


def _best_version(
    workspace: Workspace, evaluation_set_version: int, challenger: _Answers, members: Sequence[EvaluationItem]
) -> BestVersion | None:
    """Return the version that the challenger is farthest behind, of all versions that ever were in production."""
    with workspace.catalog.begin() as connection:
        versions = journal.versions_ever_in_production(connection)
    compared = []
    for version in versions:
        try:
            score_version(workspace, version, evaluation_set_version)
        except (ModelLoadError, UnknownVersionError, EvaluationSetError) as error:
            logger.warning("Version %s was in production, but cannot be compared: %s", version, error)
            continue
        former = _answers(workspace, version, evaluation_set_version)
        known = [member for member in members if member.annotation.is_known(former.classes)]
        if known:
            compared.append(BestVersion(version, former.score(known).main, challenger.score(known).main))
    return max(compared, key=lambda each: each.figure - each.challenger_figure, default=None)


def _new_class_recalls(
    workspace: Workspace, evaluation_set_version: int, challenger: _Answers, champion: _Answers
) -> dict[str, float]:
    """Return the challenger's recall of each class that the champion does not know, on both parts together."""
    with workspace.catalog.begin() as connection:
        members = load_evaluation_set(connection, evaluation_set_version)
    recalls = {}
    for label in sorted(set(challenger.classes) - set(champion.classes)):
        shown = [member for member in members if label in member.annotation.class_names]
        recalls[label] = float(np.nanmean(challenger.score(shown).classes[label])) if shown else 0.0
    return recalls
