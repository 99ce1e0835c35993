"""The steps of a night, in order. DAGs and the command line call only these functions.

Hourly ingestion:  ingest, once per source
Nightly check:     check -> monitor -> measure_drift
Retraining:        take_snapshot -> train -> register -> evaluate_challenger -> decide -> compare_in_shadow
                   -> promote_challenger
Fine-tuning:       the same steps; `train` reads the request that is stored with the attempt
Tuning:            take_snapshot -> search -> choose_hyperparameters -> train, then as for a retraining

Each step belongs to an attempt and can run again at any time. It finds its earlier work and ends with the same result,
even if an earlier run of it crashed.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ml.app import Workspace, known_runs, load_version, remember_version
from ml.backbones.preprocessing import to_pixels
from ml.catalog import locks
from ml.catalog.answers import Answer
from ml.catalog.home_choices import keep_home
from ml.catalog.logs.outbox import raise_alert
from ml.catalog.models import attempts, journal, model_versions, verdicts
from ml.catalog.models.attempts import Attempt
from ml.catalog.models.drift_checks import DriftCheck
from ml.catalog.models.evaluations import Evaluation
from ml.catalog.models.verdicts import StoredVerdict
from ml.catalog.shadows.shadow_records import has_been_in_shadow
from ml.data import snapshot_rules
from ml.data.feedback import known_labels
from ml.deadlines import Deadline
from ml.errors import (
    CatalogError,
    ImageStoreError,
    ModelLoadError,
    MycoflowError,
    NoChampionError,
    RegistryStateError,
    RegistryUnavailableError,
    UnknownVersionError,
)
from ml.evaluation import monitoring, promotion, registering
from ml.evaluation.judging import describe_verdict, judge_challenger, record_verdict
from ml.evaluation.nightly_drift import check_drift
from ml.evaluation.registering import ModelDescription
from ml.evaluation.scoring import deciding_evaluation, score_version
from ml.evaluation.shadowing.shadow_figures import read_figures
from ml.evaluation.shadowing.shadow_scoring import score_in_shadow
from ml.evaluation.shadowing.shadow_words import describe_shadow, shadow_page
from ml.evaluation.verdict_promotion import apply_verdict
from ml.ingest.intake import BatchRules, ingest_source
from ml.ingest.sources.drop_folder import DropFolder
from ml.ingest.sources.opening import open_source
from ml.ingest.validation import sanitise
from ml.progress import Progress, StepProgress
from ml.registry.version_files import TRAINED_HERE_TAG
from ml.reporting import serving_notices, training_notices
from ml.reporting.training_notices import notify_overdue
from ml.serving.explaining.activation_maps import choose_class
from ml.serving.explaining.heat_pictures import draw_over
from ml.tasks.task import demand_locating
from ml.training import tuning
from ml.training.recipes import TUNE, Recipe, decode_recipe, demand_recipe, demand_same_request, encode_recipe
from ml.training.suspected_labels import find_suspected_labels
from ml.upkeep import photo_indexing
from ml.upkeep.evaluation_leaks import LeakReport, remove_leaks

logger = logging.getLogger(__name__)

INDEX_SECONDS = 15 * 60
INGEST_SECONDS = 15 * 60

STEPS = ("snapshot", "backbone", "features", "train", "register", "evaluate", "gate", "shadow", "promote")
FINETUNE_STEPS = ("snapshot", "activations", "tune", *STEPS[1:])
TUNE_STEPS = ("snapshot", "backbone", "features", "search", *STEPS[3:])


@dataclass(frozen=True)
class RetrainReport:
    """The result of a training of any kind. Args: is_in_shadow, it waits for MYCOFLOW_SHADOW_HOURS to be over."""

    model_version: int
    verdict: StoredVerdict
    production_version: int | None
    is_in_shadow: bool = False


@dataclass(frozen=True)
class SourceReport:
    """The result of an ingestion from a source.

    Args:
        batch_ids: of the new batches; `mycoflow batch show` shows their results.
        held_back: number of files of a folder that changed in the last minute, and wait for the next run.
    """

    batch_ids: list[int]
    held_back: int


def ingest(workspace: Workspace, source_url: str) -> SourceReport:
    """Ingest new files from a source, for at most 15 minutes. The next run ingests the rest.

    Args: source_url, a URL of MYCOFLOW_INGEST_SOURCES.
    Raises: SettingsError, SourceError, SourceUnavailableError.
    """
    settings = workspace.settings
    rules = BatchRules(
        settings.require_certification, settings.quarantine_share, settings.mirrored_views, workspace.task
    )
    with workspace.catalog.begin() as connection:
        labels = known_labels(connection)
    source = open_source(source_url, settings, labels)
    batch_ids = ingest_source(workspace.catalog, source, rules, Deadline(INGEST_SECONDS))
    held_back = source.held_back if isinstance(source, DropFolder) else 0
    logger.info("%s: %d new batches %s, %d files held back", source_url, len(batch_ids), batch_ids, held_back)
    return SourceReport(batch_ids, held_back)


def check(workspace: Workspace, actor: str = "check") -> LeakReport:
    """Remove images from the pool whose copies are in the evaluation set, and mark the figures that they affected.

    Args: actor, who started the check, for the audit log.
    Raises: ImageStoreError.
    """
    report = remove_leaks(workspace.catalog, workspace.settings.mirrored_views, actor)
    if report.withdrawn:
        logger.warning("%d images left the pool: the evaluation set has copies of them.", len(report.withdrawn))
    return report


def monitor(workspace: Workspace, on_progress: Progress | None = None) -> monitoring.MonitorReport:
    """Score the champion, count new images, decide whether retraining is due, and store the result.

    Raises: NoChampionError, there is no model in production; EvaluationSetError, there is nothing to score it on;
        ModelLoadError, ImageStoreError, images that are not scored yet cannot be scored.
    """
    return monitoring.check(workspace, deciding_evaluation(evaluate(workspace, on_progress=on_progress)))


def measure_drift(workspace: Workspace) -> DriftCheck:
    """Compare the champion's recent predictions with its training data, and estimate its accuracy on them.

    Raises: NoChampionError, there is no model in production; ModelLoadError, ImageStoreError.
    """
    return check_drift(workspace, _champion(workspace))


def index_photos(workspace: Workspace) -> int:
    """Index the known photos by the champion's features, for at most 15 minutes. The next call indexes the rest.

    Returns: the number of photos that were added; 0 if the database has no pgvector.
    Raises: NoChampionError, there is no model in production; ModelLoadError, ImageStoreError.
    """
    return photo_indexing.index_photos(workspace, _champion(workspace), Deadline(INDEX_SECONDS))


def evaluate(workspace: Workspace, version: int | None = None, on_progress: Progress | None = None) -> list[Evaluation]:
    """Score a model version, by default the champion, on each part of the current evaluation set. Store the results.

    Raises: NoChampionError, UnknownVersionError, EvaluationSetError.
    """
    version = _champion(workspace) if version is None else version
    return score_version(workspace, version, None, on_progress)


def register_run(
    workspace: Workspace,
    mlflow_run_id: str | None,
    image_size: int | None = None,
    scale: str | None = None,
    classes: Sequence[str] | None = None,
) -> int:
    """Register the model that an MLflow run logged, score it and let the gate judge it. Promote nothing.

    Args: as for ml.evaluation.registering.register_run.
    Returns: the version's number.
    Raises: UnknownVersionError, no run is named; and what register_run raises.
    """
    if mlflow_run_id is None:
        raise UnknownVersionError("Expected the id of an MLflow run, got none. Give the parameter mlflow_run_id.")
    description = ModelDescription(image_size, scale, None if classes is None else tuple(classes))
    registration = registering.register_run(workspace, mlflow_run_id, description)
    for note in registration.notes:
        logger.info("%s", note)
    return registration.verdict.model_version


def take_snapshot(workspace: Workspace, request_key: str, reason: str, recipe: Recipe) -> int:
    """Store the data and the request of a training as an attempt. The same request key always means the same attempt.

    Args:
        request_key: key of the request: an Airflow run id, or a key from the command line.
        reason: reason for the training, for people.
        recipe: the request.
    Returns: the attempt's id.
    Raises:
        SnapshotError: the pool cannot give a usable snapshot.
        NoChampionError: there is nothing to fine-tune.
        SettingsError: the key belongs to a request with other options, or the task has no such training.
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
    """Run trials of an attempt's search for hyperparameters. Any number of workers may do this at once.

    Returns: the number of trials that this worker ran.
    Raises: WeightsError.
    """
    attempt = _attempt(workspace, attempt_id)
    return tuning.search(workspace, attempt, on_step)


def choose_hyperparameters(workspace: Workspace, attempt_id: int) -> None:
    """End an attempt's search, and store its best hyperparameters with the attempt for good.

    Raises: TrainingError, no trial ended with a result.
    """
    tuning.end_search(workspace, _attempt(workspace, attempt_id))


def train(workspace: Workspace, attempt_id: int, on_step: StepProgress | None = None) -> str:
    """Train a challenger on the attempt's snapshot with the attempt's parameters, and log it to an MLflow run.

    Returns: the id of the finished MLflow run; if the attempt already has one, the id of that run.
    Raises: TrainingError, WeightsError, ModelLoadError.
    """
    found = workspace.registry.find_run(attempt_id)
    if found is None:
        attempt = _attempt(workspace, attempt_id)
        recipe = decode_recipe(attempt.parameters)
        found = recipe.run(recipe.pinned.apply(workspace), attempt, on_step)
    with workspace.catalog.begin() as connection:
        attempts.update_attempt(connection, attempt_id, mlflow_run_id=found)
    return found


def register(workspace: Workspace, attempt_id: int) -> int:
    """Register the attempt's run as a model version. Its verdict is pending.

    Returns: the version; if the run already has one, that version.
    """
    attempt = _attempt(workspace, attempt_id)
    if attempt.mlflow_run_id is None:
        raise _missing_step(attempt_id, "train")
    tags = {"verdict": "pending", TRAINED_HERE_TAG: str(attempt_id), "snapshot_id": str(attempt.snapshot_id)}
    version = workspace.registry.register(attempt.mlflow_run_id, tags, known_runs(workspace))
    remember_version(workspace, version, attempt.snapshot_id)
    with workspace.catalog.begin() as connection:
        attempts.update_attempt(connection, attempt_id, model_version=version)
    suspected = find_suspected_labels(workspace, attempt)
    if suspected:
        logger.info("%d labels of the snapshot are suspected to be wrong; they wait for review.", suspected)
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
    """Let the gate compare the attempt's version with the champion. The first verdict on an attempt is final.

    The verdict is stored, and added to the version in MLflow, whether the version is promoted or not.
    """
    challenger = _challenger(workspace, attempt_id)
    with workspace.catalog.begin() as connection:
        verdict = verdicts.find_verdict(connection, attempt_id)
    if verdict is None:
        verdict = judge_challenger(workspace, challenger)
        with workspace.catalog.begin() as connection:
            verdicts.save_verdict(connection, attempt_id, verdict)
            if verdict.decision == "keep":
                attempts.finish_attempt(connection, attempt_id)
    record_verdict(workspace, verdict)
    return verdict


def compare_in_shadow(workspace: Workspace, attempt_id: int, on_step: StepProgress | None = None) -> bool:
    """Let a challenger that passed the gate answer the uploads of the last days beside the champion.

    The figures are for people. A comparison that fails is told on the challenger's page, and stops nothing.

    Returns: whether the next step may follow. False while the challenger must stay in shadow, see
        MYCOFLOW_SHADOW_HOURS: call this again later, and it answers the uploads that arrived meanwhile.
    """
    verdict = _verdict(workspace, attempt_id)
    if verdict.decision != "promote" or _attempt(workspace, attempt_id).finished_at is not None:
        return True
    progress: Progress | None = (lambda done, total: on_step("shadow", done, total)) if on_step else None
    try:
        score_in_shadow(workspace, verdict.model_version, progress)
    except NoChampionError:
        return True
    except (ImageStoreError, ModelLoadError, UnknownVersionError) as error:
        logger.warning("Version %d is not compared on uploads: %s", verdict.model_version, error)
    if workspace.settings.promotion == "approve":
        return True  # the person waits as long as they want
    with workspace.catalog.begin() as connection:
        return has_been_in_shadow(connection, verdict.model_version, workspace.settings.shadow_hours)


def comparison_to_approve(workspace: Workspace, attempt_id: int) -> str | None:
    """Return the comparison for the person who approves the promotion, in Markdown, and send an alert about it.

    Return None if no approval is needed: see MYCOFLOW_PROMOTION.
    """
    verdict = _verdict(workspace, attempt_id)
    if workspace.settings.promotion != "approve" or verdict.decision != "promote":
        return None
    comparison = describe_verdict(verdict, workspace.task.main_figure) + _describe_shadow(workspace, verdict)
    waiting = training_notices.promotion_waiting(
        attempt_id, verdict.model_version, verdict.champion_version, comparison
    )
    with workspace.catalog.begin() as connection:
        attempts.note_approval_asked(connection, attempt_id)
        raise_alert(connection, *waiting)
    return comparison


def promote_challenger(workspace: Workspace, attempt_id: int, approved_by: str | None = None) -> int | None:
    """Carry out the verdict: promote the attempt's version, or keep the champion.

    If another version went into production after the verdict, the gate first compares with that version.

    Args: approved_by, the person who approved. MYCOFLOW_PROMOTION=approve requires it. An approved version is promoted
        even while a rollback holds automatic promotion.
    Returns: the version in production afterwards.
    Raises: StaleChampionError, the champion changed during the promotion; try again.
    """
    verdict = _verdict(workspace, attempt_id)
    attempt = _attempt(workspace, attempt_id)
    is_allowed = workspace.settings.promotion == "auto" or approved_by is not None
    if verdict.decision == "promote" and attempt.finished_at is None and is_allowed:
        apply_verdict(workspace, attempt_id, verdict, approved_by)
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
    """Run all steps of a training in this process. A call with the same key continues an interrupted run.

    This never waits: with MYCOFLOW_SHADOW_HOURS, a call with the same key after that time promotes the challenger.

    Args: on_step, called with (step, done, total) for the steps of STEPS, FINETUNE_STEPS or TUNE_STEPS.
    """
    report = on_step or (lambda _step, _done, _total: None)
    attempt_id = take_snapshot(workspace, request_key, reason, recipe)
    report("snapshot", 1, 1)
    if recipe.kind == TUNE:
        search(workspace, attempt_id, on_step)
        choose_hyperparameters(workspace, attempt_id)
    train(workspace, attempt_id, on_step)
    version = register(workspace, attempt_id)
    report("register", 1, 1)
    evaluate_challenger(workspace, attempt_id, on_step)
    report("evaluate", 1, 1)
    verdict = decide(workspace, attempt_id)
    report("gate", 1, 1)
    if not compare_in_shadow(workspace, attempt_id, on_step):
        return RetrainReport(version, verdict, workspace.registry.champion(), is_in_shadow=True)
    report("shadow", 1, 1)
    in_production = promote_challenger(workspace, attempt_id)
    report("promote", 1, 1)
    if in_production == version:
        try:
            index_photos(workspace)
        except MycoflowError as error:  # the version is in production all the same, and the nightly check indexes too
            logger.warning("The known photos are not indexed for version %d: %s", version, error)
    return RetrainReport(version, verdict, in_production)


def raise_due_alerts(workspace: Workspace) -> None:
    """Raise alerts about conditions that no step of a night reports, one alert for each.

    These are trainings over MYCOFLOW_TRAINING_BUDGET_MINUTES, moves of the alias in MLflow, and a version in production
    that is not served.
    """
    with workspace.catalog.begin() as connection:
        notify_overdue(connection, workspace.settings.training_budget_minutes)
    try:
        promotion.note_external_move(workspace)
    except (RegistryUnavailableError, RegistryStateError) as error:
        logger.warning("The alias cannot be read, so the next run checks for its moves: %s", error)
    with workspace.catalog.begin() as connection:  # a new transaction, which sees a move that was just recorded
        serving_notices.alert_if_unserved(connection)


def predict(workspace: Workspace, content: bytes, count: int) -> tuple[int, list[dict[str, object]], Answer]:
    """Predict one image with the champion. Nothing is stored.

    Args: content, the bytes of an image file; count, the maximum number of entries in the answer.
    Returns: the champion's version, its answer in the form of `Task.encode`, best class first, and the answer itself.
    Raises: InvalidImageError, NoChampionError.
    """
    version = _champion(workspace)
    model = load_version(workspace, version)
    pixels = to_pixels(sanitise(content).content, model.card.image_size)
    (answer,) = model.predict(pixels[None]).answers
    return version, workspace.task.encode(answer, model.card.classes, count), answer


def draw_map(workspace: Workspace, content: bytes) -> bytes:
    """Draw where in an image the champion sees the first class of its answer.

    Args: content, the bytes of an image file.
    Returns: the image with the map over it, as PNG.
    Raises: InvalidImageError, NoChampionError; NoActivationMapError, the champion draws no maps; LabelError, its answer
        has no class.
    """
    model = demand_locating(load_version(workspace, _champion(workspace)))
    photo = sanitise(content).content
    pixels = to_pixels(photo, model.card.image_size)
    (answer,) = model.predict(pixels[None]).answers
    name = choose_class(model.card.classes, None, answer.top_class)
    return draw_over(photo, model.locate(pixels, name))


def _champion(workspace: Workspace) -> int:
    version = promotion.note_external_move(workspace)
    if version is not None:
        return version
    with workspace.catalog.begin() as connection:
        former = journal.versions_ever_in_production(connection)
    if former:
        raise RegistryStateError(
            f"Expected the alias production in MLflow, because versions {', '.join(map(str, former))} were in "
            "production. The alias is gone, or its version was deleted. `mycoflow models` lists the versions; put one "
            "into production with `mycoflow promote VERSION`."
        )
    raise NoChampionError(
        "Expected a model in production, found none. Ingest images and train one with `mycoflow retrain`."
    )


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
        verdict = verdicts.find_verdict(connection, attempt_id)
    if verdict is None:
        raise _missing_step(attempt_id, "gate")
    return verdict


def _describe_shadow(workspace: Workspace, verdict: StoredVerdict) -> str:
    """Return lines of Markdown about a challenger in shadow; none if there is no champion to compare it with."""
    if verdict.champion_version is None:
        return ""
    lines = describe_shadow(read_figures(workspace.catalog, workspace.settings.task, verdict.model_version))
    page = shadow_page(workspace.settings, verdict.model_version)
    lines += [] if page is None else [f"The photos on which they differ: {page}"]
    return "\n".join(["", "", "In shadow:", "", *(f"- {line}" for line in lines)])


def _missing_step(attempt_id: int, step: str) -> CatalogError:
    return CatalogError(f"Expected attempt {attempt_id} to have finished the step `{step}`. It has not. Run it first.")
