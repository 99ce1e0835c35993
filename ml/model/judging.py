"""Put challenger and champion before the gate, with the figures of one and the same evaluation set."""

from ml.catalog import evaluations
from ml.catalog.attempts import StoredVerdict
from ml.catalog.evaluations import Evaluation
from ml.errors import EvaluationSetError
from ml.model.scoring import deciding_evaluation, score_version
from ml.model.workspace import Workspace
from ml.quality.gate import Scores, judge


def judge_challenger(workspace: Workspace, challenger: int) -> StoredVerdict:
    """Let the gate compare a scored version with the champion of this moment.

    Raises: EvaluationSetError, the challenger was not scored yet.
    """
    champion = workspace.registry.champion()
    with workspace.catalog.begin() as connection:
        ours = evaluations.latest_evaluation(connection, challenger)
    if ours is None:
        raise EvaluationSetError(f"Expected version {challenger} to be scored, and it is not. Run `mycoflow evaluate`.")
    theirs = None if champion is None else _evaluation_on(workspace, champion, ours.evaluation_set_version)
    verdict = judge(
        Scores(ours.accuracy, ours.image_count),
        Scores(theirs.accuracy, theirs.image_count) if theirs else None,
        workspace.settings.accuracy_floor,
    )
    return StoredVerdict(
        model_version=challenger,
        champion_version=champion,
        evaluation_set_version=ours.evaluation_set_version,
        decision=verdict.decision,
        reasons=list(verdict.reasons),
        warnings=list(verdict.warnings),
        challenger_accuracy=ours.accuracy,
        champion_accuracy=theirs.accuracy if theirs else None,
    )


def _evaluation_on(workspace: Workspace, version: int, evaluation_set_version: int) -> Evaluation:
    """The figures of a version on one evaluation set; scored now if the champion changed since the evaluate step."""
    with workspace.catalog.begin() as connection:
        found = evaluations.latest_evaluation(connection, version, evaluation_set_version)
    return found or deciding_evaluation(score_version(workspace, version, evaluation_set_version))
