"""The story: the steps of a night, in order. DAGs and the command line call these, and nothing below them.

A night that watches:       monitor
A night that retrains:      take_snapshot -> train -> register -> evaluate_challenger -> decide -> promote_challenger
A day that fine-tunes:      the same steps; what was asked for, pinned with the snapshot, tells `train` what to train

Each step is keyed by its attempt and can run again at any time: it finds what it already did, and ends with the same
result, at whatever point an earlier run of it died.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass

from sqlalchemy import Connection

from ml.catalog import attempts, evaluations, model_versions, pool, snapshots
from ml.catalog.attempts import StoredVerdict
from ml.catalog.evaluations import Evaluation
from ml.errors import CatalogError, NoChampionError, PromotionHeldError
from ml.ingest.validation import sanitise
from ml.model import promotion
from ml.model.challenger import train_challenger
from ml.model.judging import judge_challenger
from ml.model.loading import load_classifier, remember_version
from ml.model.preprocessing import to_pixels
from ml.model.requests import FinetuneParameters, RetrainParameters
from ml.model.scoring import deciding_evaluation, score_version
from ml.model.workspace import Workspace
from ml.quality.triggers import LastAttempt, reasons_to_retrain

logger = logging.getLogger(__name__)

MONITORING_EXPERIMENT = "mycoflow-monitoring"

STEPS = ("snapshot", "trunk", "features", "train", "register", "evaluate", "gate", "promote")
FINETUNE_STEPS = ("snapshot", "activations", "tune", *STEPS[1:])

Progress = Callable[[int, int], None]
StepProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class MonitorReport:
    """What a night found. Retraining is requested when there are reasons."""

    model_version: int
    accuracy: float
    new_images: int
    harvested_images: int  # of the new ones
    reasons: list[str]

    @property
    def is_retraining_requested(self) -> bool:
        return bool(self.reasons)


@dataclass(frozen=True)
class RetrainReport:
    """How a retraining or a fine-tuning ended."""

    model_version: int
    verdict: StoredVerdict
    production_version: int | None


def monitor(workspace: Workspace, on_progress: Progress | None = None) -> MonitorReport:
    """Score the champion, count what is new, and say whether retraining is due. Stored for the record.

    Raises: NoChampionError, there is no model in production; EvaluationSetError, there is nothing to score it on.
    """
    version = _champion(workspace)
    deciding = deciding_evaluation(evaluate(workspace, version, on_progress))
    settings = workspace.settings
    with workspace.catalog.begin() as connection:
        new_images = pool.count_new_images(connection, model_versions.knows_images_until(connection, version))
        reasons = reasons_to_retrain(
            deciding.accuracy,
            settings.accuracy_floor,
            new_images.total,
            settings.new_images_threshold,
            _last_attempt(workspace, connection),
        )
        evaluations.save_monitoring(
            connection, version, deciding.evaluation_set_version, deciding.accuracy, new_images, reasons
        )
    report = MonitorReport(version, deciding.accuracy, new_images.total, new_images.harvested, reasons)
    _log_monitoring(workspace, report, deciding)
    return report


def evaluate(workspace: Workspace, version: int | None = None, on_progress: Progress | None = None) -> list[Evaluation]:
    """Score a model version, the champion by default, on each part of the evaluation set as it is now, and keep it.

    Raises: NoChampionError, UnknownVersionError, EvaluationSetError.
    """
    version = _champion(workspace) if version is None else version
    return score_version(workspace, version, None, on_progress)


def take_snapshot(
    workspace: Workspace, request_key: str, reason: str, parameters: RetrainParameters | FinetuneParameters
) -> int:
    """Pin what a training will learn from, and what it starts from. The same request key always means the same attempt.

    Args:
        request_key: who asked: an Airflow run id, or one made by the command line.
        reason: for the record.
        parameters: what was asked for.
    Returns: the attempt's id.
    Raises: SnapshotError, the pool cannot give a usable snapshot; NoChampionError, there is nothing to fine-tune.
    """
    champion = promotion.note_external_move(workspace)
    if champion is not None:
        remember_version(workspace, champion)
    settings = workspace.settings
    rules = snapshots.SnapshotRules(parameters.snapshot_size, settings.validation_ratio, settings.harvest_share)
    with workspace.catalog.begin() as connection:
        pool.hold_for_snapshot(connection)
        found = attempts.find_attempt(connection, request_key)
        if found is not None:
            return found.id
        classes = None if champion is None else model_versions.load_model_version(connection, champion).classes
        snapshot_id = snapshots.create_snapshot(connection, rules, classes)
        record = parameters.to_record(settings, champion)
        return attempts.start_attempt(connection, request_key, reason, record, snapshot_id)


def train(workspace: Workspace, attempt_id: int, on_step: StepProgress | None = None) -> str:
    """Train a challenger on the attempt's snapshot, as the attempt's parameters say, into an MLflow run.

    Returns: the MLflow run's id; that of the finished run where the attempt has one.
    Raises: TrainingError, WeightsError, ModelLoadError.
    """
    found = workspace.registry.find_run(attempt_id)
    if found is None:
        with workspace.catalog.begin() as connection:
            attempt = attempts.load_attempt(connection, attempt_id)
        found = train_challenger(workspace, attempt, on_step)
    with workspace.catalog.begin() as connection:
        attempts.update_attempt(connection, attempt_id, mlflow_run_id=found)
    return found


def register(workspace: Workspace, attempt_id: int) -> int:
    """Make a model version of the attempt's run, its verdict pending.

    Returns: the version; the one that the run already has where it has one.
    """
    with workspace.catalog.begin() as connection:
        attempt = attempts.load_attempt(connection, attempt_id)
    if attempt.mlflow_run_id is None:
        raise _missing_step(attempt_id, "train")
    tags = {"verdict": "pending", "attempt_id": str(attempt_id), "snapshot_id": str(attempt.snapshot_id)}
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
    for line in [*verdict.reasons, *verdict.warnings]:
        logger.info("%s: %s", verdict.decision, line)
    workspace.registry.tag_version(
        challenger,
        {
            "verdict": verdict.decision,
            "verdict_reasons": " ".join([*verdict.reasons, *verdict.warnings]),
            "accuracy": f"{verdict.challenger_accuracy:.4f}",
        },
    )
    return verdict


def promote_challenger(workspace: Workspace, attempt_id: int) -> int | None:
    """Do what the verdict says: promote the attempt's version, or keep the champion.

    Returns: the version in production afterwards.
    Raises: StaleChampionError, another version went into production after the verdict.
    """
    with workspace.catalog.begin() as connection:
        attempt = attempts.load_attempt(connection, attempt_id)
        verdict = attempts.find_verdict(connection, attempt_id)
    if verdict is None:
        raise _missing_step(attempt_id, "gate")
    if verdict.decision == "promote" and attempt.finished_at is None:
        try:
            promotion.promote_automatically(
                workspace,
                verdict.model_version,
                expected_current=verdict.champion_version,
                actor="retrain",
                reason=" ".join(verdict.reasons),
            )
        except PromotionHeldError as held:
            logger.warning("%s", held)
    with workspace.catalog.begin() as connection:
        attempts.finish_attempt(connection, attempt_id)
    return workspace.registry.champion()


def retrain(
    workspace: Workspace,
    request_key: str,
    reason: str,
    parameters: RetrainParameters | FinetuneParameters,
    on_step: StepProgress | None = None,
) -> RetrainReport:
    """Run all steps of a retraining or fine-tuning in this process. The same key goes on where a run was interrupted.

    Args: on_step, called with (step, done, total) as the steps of STEPS or FINETUNE_STEPS go on.
    """
    tell = on_step or (lambda _step, _done, _total: None)
    attempt_id = take_snapshot(workspace, request_key, reason, parameters)
    tell("snapshot", 1, 1)
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


def predict(workspace: Workspace, content: bytes) -> tuple[int, list[tuple[str, float]]]:
    """Classify one image with the champion, storing nothing.

    Args: content, the bytes of an image file.
    Returns: the champion's version, and (class, probability) of every class, best first.
    Raises: InvalidImageError, NoChampionError.
    """
    version = _champion(workspace)
    classifier = load_classifier(workspace, version)
    pixels = to_pixels(sanitise(content).content, classifier.card.image_size)
    probabilities = classifier.predict(pixels[None]).probabilities[0]
    ranked = sorted(zip(classifier.card.classes, probabilities.tolist(), strict=True), key=lambda pair: -pair[1])
    return version, ranked


def _champion(workspace: Workspace) -> int:
    version = promotion.note_external_move(workspace)
    if version is None:
        raise NoChampionError(
            "Expected a model in production, found none. Ingest images and train one with `mycoflow retrain`."
        )
    return version


def _challenger(workspace: Workspace, attempt_id: int) -> int:
    with workspace.catalog.begin() as connection:
        version = attempts.load_attempt(connection, attempt_id).model_version
    if version is None:
        raise _missing_step(attempt_id, "register")
    return version


def _missing_step(attempt_id: int, step: str) -> CatalogError:
    return CatalogError(f"Expected the step `{step}` of attempt {attempt_id} to be done, and it is not. Run it first.")


def _last_attempt(workspace: Workspace, connection: Connection) -> LastAttempt | None:
    last = attempts.last_decided_attempt(connection)
    if last is None:
        return None
    tonight = RetrainParameters(workspace.settings.snapshot_size).to_record(workspace.settings, None)
    return LastAttempt(
        has_same_parameters=last.parameters == tonight,
        has_same_pool=last.pool_state == pool.pool_state(connection),
        images_since=pool.count_new_images(connection, last.cutoff).total,
    )


def _log_monitoring(workspace: Workspace, report: MonitorReport, deciding: Evaluation) -> None:
    tags = {"model_version": str(report.model_version), "reasons": " ".join(report.reasons)}
    with workspace.registry.run(MONITORING_EXPERIMENT, f"version-{report.model_version}", tags) as run:
        run.log_metrics(
            {
                "accuracy": deciding.accuracy,
                "precision_macro": deciding.precision_macro,
                "recall_macro": deciding.recall_macro,
                "f1_macro": deciding.f1_macro,
                "new_images": report.new_images,
                "new_images_harvested": report.harvested_images,
            }
        )
        run.log_report("evaluation.json", asdict(deciding))
