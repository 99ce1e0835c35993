"""The story: the steps of a night, in order. DAGs and the command line call these, and nothing below them.

An hour that brings images: ingest, once per source
A night that watches:       check -> monitor -> measure_drift
A night that retrains:      take_snapshot -> train -> register -> evaluate_challenger -> decide -> promote_challenger
A day that fine-tunes:      the same steps; what was asked for, pinned with the snapshot, tells `train` what to train
A day that tunes:           take_snapshot -> search -> choose_hyperparameters -> train, and on as above

Each step is keyed by its attempt and can run again at any time: it finds what it already did, and ends with the same
result, at whatever point an earlier run of it died.
"""

import logging
from dataclasses import dataclass

from ml.app import Workspace, keep_home, load_version, remember_version
from ml.backbones.preprocessing import to_pixels
from ml.catalog import locks
from ml.catalog.logs.outbox import raise_alert
from ml.catalog.models import attempts, model_versions
from ml.catalog.models.attempts import Attempt, StoredVerdict
from ml.catalog.models.drift_checks import DriftCheck
from ml.catalog.models.evaluations import Evaluation
from ml.data import snapshot_rules
from ml.data.feedback import known_labels
from ml.deadlines import Deadline
from ml.errors import CatalogError, NoChampionError, RegistryUnavailableError
from ml.evaluation import monitoring, promotion
from ml.evaluation.judging import describe_verdict, judge_challenger, tell_verdict
from ml.evaluation.nightly_drift import check_drift
from ml.evaluation.scoring import deciding_evaluation, score_version
from ml.evaluation.verdict_promotion import carry_out
from ml.ingest.intake import BatchRules, ingest_source
from ml.ingest.sources.opening import open_source
from ml.ingest.validation import sanitise
from ml.progress import Progress, StepProgress
from ml.registry.version_files import TRAINED_HERE_TAG
from ml.reporting import serving_notices, training_notices
from ml.reporting.training_notices import tell_of_overdue
from ml.training import tuning
from ml.training.recipes import TUNE, Recipe, decode_recipe, demand_recipe, demand_same_request, encode_recipe
from ml.upkeep.crossing import CrossingReport, check_crossing

logger = logging.getLogger(__name__)

INGEST_SECONDS = 15 * 60

STEPS = ("snapshot", "backbone", "features", "train", "register", "evaluate", "gate", "promote")
FINETUNE_STEPS = ("snapshot", "activations", "tune", *STEPS[1:])
TUNE_STEPS = ("snapshot", "backbone", "features", "search", *STEPS[3:])


@dataclass(frozen=True)
class RetrainReport:
    """How a retraining or a fine-tuning ended."""

    model_version: int
    verdict: StoredVerdict
    production_version: int | None


def ingest(workspace: Workspace, source_url: str) -> list[int]:
    """Take in what is new at a source, for a quarter of an hour at most; the next run takes the rest.

    Args: source_url, one of those in MYCOFLOW_INGEST_SOURCES.
    Returns: the numbers of the batches; `mycoflow batch show` tells what became of each.
    Raises: SettingsError, SourceError, SourceUnavailableError.
    """
    settings = workspace.settings
    rules = BatchRules(
        settings.require_certification, settings.quarantine_share, settings.mirrored_views, workspace.task
    )
    with workspace.catalog.begin() as connection:
        source = open_source(source_url, settings, known_labels(connection))
    batch_ids = ingest_source(workspace.catalog, source, rules, Deadline(INGEST_SECONDS))
    logger.info("%s: %d new batches %s", source_url, len(batch_ids), batch_ids)
    return batch_ids


def check(workspace: Workspace, actor: str = "check") -> CrossingReport:
    """Take out of the pool whatever the evaluation set has a copy of, and mark the figures that stood on it.

    Args: actor, who checks, for the record.
    Raises: ImageStoreError.
    """
    report = check_crossing(workspace.catalog, workspace.settings.mirrored_views, actor)
    if report.withdrawn:
        logger.warning("%d images left the pool: the evaluation set has copies of them.", len(report.withdrawn))
    return report


def monitor(workspace: Workspace, on_progress: Progress | None = None) -> monitoring.MonitorReport:
    """Score the champion, count what is new, and say whether retraining is due. Stored for the record.

    Raises: NoChampionError, there is no model in production; EvaluationSetError, there is nothing to score it on;
        ModelLoadError, ImageStoreError, what is not measured yet cannot be.
    """
    return monitoring.check(workspace, deciding_evaluation(evaluate(workspace, on_progress=on_progress)))


def measure_drift(workspace: Workspace) -> DriftCheck:
    """Compare what people lately asked the champion about with what it learned from, and estimate its accuracy there.

    Raises: NoChampionError, there is no model in production; ModelLoadError, ImageStoreError.
    """
    return check_drift(workspace, _champion(workspace))


def evaluate(workspace: Workspace, version: int | None = None, on_progress: Progress | None = None) -> list[Evaluation]:
    """Score a model version, the champion by default, on each part of the evaluation set as it is now, and keep it.

    Raises: NoChampionError, UnknownVersionError, EvaluationSetError.
    """
    version = _champion(workspace) if version is None else version
    return score_version(workspace, version, None, on_progress)


def take_snapshot(workspace: Workspace, request_key: str, reason: str, recipe: Recipe) -> int:
    """Pin what a training will learn from, and what it starts from. The same request key always means the same attempt.

    Args:
        request_key: who asked: an Airflow run id, or one made by the command line.
        reason: for the record.
        recipe: what was asked for.
    Returns: the attempt's id.
    Raises:
        SnapshotError: the pool cannot give a usable snapshot.
        NoChampionError: there is nothing to fine-tune.
        SettingsError: the key is that of a request with other options, or the task has no such training.
    """
    demand_recipe(workspace.task, recipe)
    champion = promotion.note_external_move(workspace)
    if champion is not None:
        remember_version(workspace, champion)
    settings = workspace.settings
    with workspace.catalog.begin() as connection:
        locks.lock_pool_for_snapshot(connection)
        found = attempts.find_attempt(connection, request_key)
        if found is not None:
            demand_same_request(request_key, decode_recipe(found.parameters), recipe)
            return found.id
        classes = None if champion is None else model_versions.load_model_version(connection, champion).classes
        snapshot_id = snapshot_rules.create_snapshot(connection, recipe.snapshot_rules(settings), classes)
        pinned = recipe.pin(settings, champion)
        pinned.check(connection)
        keep_home(connection, settings)
        return attempts.start_attempt(connection, request_key, reason, encode_recipe(pinned), snapshot_id)


def search(workspace: Workspace, attempt_id: int, on_step: StepProgress | None = None) -> int:
    """Be one worker of an attempt's search for hyperparameters; any number may work side by side.

    Returns: how many trials this one ran.
    Raises: WeightsError.
    """
    attempt = _attempt(workspace, attempt_id)
    return tuning.search(workspace, attempt, on_step)


def choose_hyperparameters(workspace: Workspace, attempt_id: int) -> None:
    """End an attempt's search: its best hyperparameters become the attempt's, for good.

    Raises: TrainingError, no trial ended with a result.
    """
    tuning.end_search(workspace, _attempt(workspace, attempt_id))


def train(workspace: Workspace, attempt_id: int, on_step: StepProgress | None = None) -> str:
    """Train a challenger on the attempt's snapshot, as the attempt's parameters say, into an MLflow run.

    Returns: the MLflow run's id; that of the finished run where the attempt has one.
    Raises: TrainingError, WeightsError, ModelLoadError.
    """
    found = workspace.registry.find_run(attempt_id)
    if found is None:
        attempt = _attempt(workspace, attempt_id)
        found = decode_recipe(attempt.parameters).run(workspace, attempt, on_step)
    with workspace.catalog.begin() as connection:
        attempts.update_attempt(connection, attempt_id, mlflow_run_id=found)
    return found


def register(workspace: Workspace, attempt_id: int) -> int:
    """Make a model version of the attempt's run, its verdict pending.

    Returns: the version; the one that the run already has where it has one.
    """
    attempt = _attempt(workspace, attempt_id)
    if attempt.mlflow_run_id is None:
        raise _missing_step(attempt_id, "train")
    tags = {"verdict": "pending", TRAINED_HERE_TAG: str(attempt_id), "snapshot_id": str(attempt.snapshot_id)}
    version = workspace.registry.register(attempt.mlflow_run_id, tags)
    remember_version(workspace, version, attempt.snapshot_id)
    with workspace.catalog.begin() as connection:
        attempts.update_attempt(connection, attempt_id, model_version=version)
    return version


def evaluate_challenger(workspace: Workspace, attempt_id: int, on_step: StepProgress | None = None) -> int:
    """Score the attempt's version and the champion on the same version of the evaluation set.

    Returns: that version of the evaluation set.
    """
    challenger = _challenger(workspace, attempt_id)
    progress: Progress | None = (lambda done, total: on_step("evaluate", done, total)) if on_step else None
    evaluation_set_version = deciding_evaluation(
        score_version(workspace, challenger, None, progress)
    ).evaluation_set_version
    champion = workspace.registry.champion()
    if champion is not None and champion != challenger:
        score_version(workspace, champion, evaluation_set_version, progress)
    return evaluation_set_version


def decide(workspace: Workspace, attempt_id: int) -> StoredVerdict:
    """Let the gate compare the attempt's version with the champion. Its first word on an attempt stands.

    The verdict is stored, and written on the version in MLflow, whether the version is promoted or not.
    """
    challenger = _challenger(workspace, attempt_id)
    with workspace.catalog.begin() as connection:
        verdict = attempts.find_verdict(connection, attempt_id)
    if verdict is None:
        verdict = judge_challenger(workspace, challenger)
        with workspace.catalog.begin() as connection:
            attempts.save_verdict(connection, attempt_id, verdict)
            if verdict.decision == "keep":
                attempts.finish_attempt(connection, attempt_id)
    tell_verdict(workspace, verdict)
    return verdict


def comparison_to_approve(workspace: Workspace, attempt_id: int) -> str | None:
    """What a person decides on before a promotion, in Markdown. None where nobody is asked: see MYCOFLOW_PROMOTION.

    Whoever is to be asked is told.
    """
    verdict = _verdict(workspace, attempt_id)
    if workspace.settings.promotion != "approve" or verdict.decision != "promote":
        return None
    comparison = describe_verdict(verdict, workspace.task.main_figure)
    waiting = training_notices.promotion_waiting(
        attempt_id, verdict.model_version, verdict.champion_version, comparison
    )
    with workspace.catalog.begin() as connection:
        raise_alert(connection, *waiting)
    return comparison


def promote_challenger(workspace: Workspace, attempt_id: int, approved_by: str | None = None) -> int | None:
    """Do what the verdict says: promote the attempt's version, or keep the champion.

    Where another version went into production after the verdict, the gate compares with that one first.

    Args: approved_by, who said yes; with MYCOFLOW_PROMOTION=approve, nothing is promoted without. A yes goes before the
        hold of a rollback.
    Returns: the version in production afterwards.
    Raises: StaleChampionError, the champion changed during the promotion; try again.
    """
    verdict = _verdict(workspace, attempt_id)
    attempt = _attempt(workspace, attempt_id)
    is_allowed = workspace.settings.promotion == "auto" or approved_by is not None
    if verdict.decision == "promote" and attempt.finished_at is None and is_allowed:
        carry_out(workspace, attempt_id, verdict, approved_by)
    with workspace.catalog.begin() as connection:
        attempts.finish_attempt(connection, attempt_id)
    return workspace.registry.champion()


def retrain(
    workspace: Workspace,
    request_key: str,
    reason: str,
    recipe: Recipe,
    on_step: StepProgress | None = None,
) -> RetrainReport:
    """Run all steps of a training of any kind in this process. The same key goes on where a run was interrupted.

    Args: on_step, called with (step, done, total) as the steps of STEPS, FINETUNE_STEPS or TUNE_STEPS go on.
    """
    tell = on_step or (lambda _step, _done, _total: None)
    attempt_id = take_snapshot(workspace, request_key, reason, recipe)
    tell("snapshot", 1, 1)
    if recipe.kind == TUNE:
        search(workspace, attempt_id, on_step)
        choose_hyperparameters(workspace, attempt_id)
    train(workspace, attempt_id, on_step)
    version = register(workspace, attempt_id)
    tell("register", 1, 1)
    evaluate_challenger(workspace, attempt_id, on_step)
    tell("evaluate", 1, 1)
    verdict = decide(workspace, attempt_id)
    tell("gate", 1, 1)
    in_production = promote_challenger(workspace, attempt_id)
    tell("promote", 1, 1)
    return RetrainReport(version, verdict, in_production)


def look_around(workspace: Workspace) -> None:
    """Tell people, once for each, of what nobody else tells.

    That is trainings over MYCOFLOW_TRAINING_BUDGET_MINUTES, moves in MLflow, and a version in production that is not
    served.
    """
    with workspace.catalog.begin() as connection:
        tell_of_overdue(connection, workspace.settings.training_budget_minutes)
    try:
        promotion.note_external_move(workspace)
    except RegistryUnavailableError as error:
        logger.warning("Moves in MLflow are looked for next time: %s", error)
    with workspace.catalog.begin() as connection:  # after a move by hand is in the journal
        serving_notices.tell_of_unserved(connection)


def predict(workspace: Workspace, content: bytes) -> tuple[int, list[tuple[str, float]]]:
    """Ask the champion about one image, storing nothing.

    Args: content, the bytes of an image file.
    Returns: the champion's version, and (class, probability) of every class, best first.
    Raises: InvalidImageError, NoChampionError.
    """
    version = _champion(workspace)
    model = load_version(workspace, version)
    pixels = to_pixels(sanitise(content).content, model.card.image_size)
    (answer,) = model.predict(pixels[None]).answers
    ranked = sorted(zip(model.card.classes, answer.probabilities.tolist(), strict=True), key=lambda pair: -pair[1])
    return version, ranked


def _champion(workspace: Workspace) -> int:
    version = promotion.note_external_move(workspace)
    if version is None:
        raise NoChampionError(
            "Expected a model in production, found none. Ingest images and train one with `mycoflow retrain`."
        )
    return version


def _attempt(workspace: Workspace, attempt_id: int) -> Attempt:
    with workspace.catalog.begin() as connection:
        return attempts.load_attempt(connection, attempt_id)


def _challenger(workspace: Workspace, attempt_id: int) -> int:
    version = _attempt(workspace, attempt_id).model_version
    if version is None:
        raise _missing_step(attempt_id, "register")
    return version


def _verdict(workspace: Workspace, attempt_id: int) -> StoredVerdict:
    with workspace.catalog.begin() as connection:
        verdict = attempts.find_verdict(connection, attempt_id)
    if verdict is None:
        raise _missing_step(attempt_id, "gate")
    return verdict


def _missing_step(attempt_id: int, step: str) -> CatalogError:
    return CatalogError(f"Expected the step `{step}` of attempt {attempt_id} to be done, and it is not. Run it first.")
