"""Score a model version on the evaluation set. The model runs only on images without a stored answer."""

import logging
from collections.abc import Callable, Mapping, Sequence

from ml.app import Workspace, load_version, remember_version
from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.logs.results import load_results, save_results
from ml.catalog.models.evaluations import Evaluation, save_evaluation
from ml.data.evaluation_sets import EvaluationItem, current_evaluation_set, deciding_part, load_evaluation_set
from ml.errors import EvaluationSetError, RegistryStateError, RegistryUnavailableError
from ml.evaluation.floor import Floor, floor_of, measured_recalls
from ml.figures import fold_metric
from ml.progress import Progress
from ml.tasks.task import Model, Task

logger = logging.getLogger(__name__)

COLUMNS = ("accuracy", "precision_macro", "recall_macro", "f1_macro")  # shares that are stored in their own columns


def score_version(
    workspace: Workspace,
    version: int,
    evaluation_set_version: int | None = None,
    on_progress: Progress | None = None,
) -> list[Evaluation]:
    """Score a version on each part of an evaluation set, and store the figures. Only classes that it knows count.

    Args:
        version: a registered model version.
        evaluation_set_version: the current set if None.
        on_progress: called with (images computed, images to compute).
    Raises: UnknownVersionError; EvaluationSetError, the set is empty or holds no image of the version's classes.
    """
    facts = remember_version(workspace, version)
    scored = score_loaded(
        workspace.catalog,
        workspace.task,
        version,
        facts.classes,
        lambda: load_version(workspace, version),
        floor_of(workspace.settings),
        evaluation_set_version,
        on_progress,
    )
    _log_figures(workspace, facts.mlflow_run_id, deciding_evaluation(scored))
    return scored


def score_loaded(
    catalog: Catalog,
    task: Task,
    version: int,
    classes: Sequence[str],
    open_model: Callable[[], Model],
    floor: Floor,
    evaluation_set_version: int | None = None,
    on_progress: Progress | None = None,
) -> list[Evaluation]:
    """Score a version as score_version does, if the catalog has the version and the caller can load it.

    Args:
        classes: names of the version's classes.
        open_model: loads the version; called if there are images without a stored answer.
        floor: the floors of the figures.
    Raises: EvaluationSetError, as score_version.
    """
    with catalog.begin() as connection:
        if evaluation_set_version is None:
            evaluation_set_version, members = current_evaluation_set(connection)
        else:
            members = load_evaluation_set(connection, evaluation_set_version)
    known = [member for member in members if member.annotation.is_known(classes)]
    if not known:
        raise EvaluationSetError(
            f"Expected images of the classes of version {version} ({', '.join(map(repr, classes))}) in the evaluation "
            "set, found none. Ingest some with `mycoflow ingest DIR --split evaluation`."
        )
    answers = answer_items(catalog, task, version, [member.item_id for member in known], open_model, on_progress)
    deciding = deciding_part(known)
    scored = [
        _measure_part(task, version, evaluation_set_version, part, part == deciding, known, answers, classes, floor)
        for part in ("anchor", "recent")
        if any(member.part == part for member in known)
    ]
    with catalog.begin() as connection:
        for evaluation in scored:
            save_evaluation(connection, evaluation)
    return scored


def answer_items(
    catalog: Catalog,
    task: Task,
    version: int,
    item_ids: Sequence[str],
    open_model: Callable[[], Model],
    on_progress: Progress | None = None,
) -> dict[str, Answer]:
    """Return a version's answers by item id. Compute and store those that are not stored yet.

    Args: open_model, on_progress: as in score_loaded.
    Raises: ImageStoreError, an image's bytes cannot be read.
    """
    with catalog.begin() as connection:
        answers = load_results(connection, version, item_ids)
    missing = [item_id for item_id in item_ids if item_id not in answers]
    if missing:
        computed = dict(zip(missing, task.answer_stored(catalog, open_model(), missing, on_progress), strict=True))
        answers |= computed
        with catalog.begin() as connection:
            save_results(connection, version, computed)
    return answers


def deciding_evaluation(scored: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluation that the floor and the gate use, of a version's evaluations on both parts."""
    return next(evaluation for evaluation in scored if evaluation.is_deciding)


def _log_figures(workspace: Workspace, mlflow_run_id: str, deciding: Evaluation) -> None:
    """Show the figures at the version's run in MLflow too; the steps are versions of the evaluation set."""
    figures = {name: getattr(deciding, name) for name in COLUMNS} | {workspace.task.main_figure: deciding.main_figure}
    logged = {fold_metric("evaluation", name): value for name, value in figures.items() if value is not None}
    try:
        workspace.registry.add_figures(mlflow_run_id, logged, deciding.evaluation_set_version)
    except (RegistryUnavailableError, RegistryStateError) as error:  # the catalog has them
        logger.warning("The figures of the evaluation are not in MLflow: %s", error)


def _measure_part(
    task: Task,
    version: int,
    evaluation_set_version: int,
    part: str,
    is_deciding: bool,
    members: Sequence[EvaluationItem],
    answers: Mapping[str, Answer],
    classes: Sequence[str],
    floor: Floor,
) -> Evaluation:
    chosen = [member for member in members if member.part == part]
    figures = task.measure(
        [member.annotation for member in chosen], [answers[member.item_id] for member in chosen], classes
    )
    return Evaluation(
        model_version=version,
        evaluation_set_version=evaluation_set_version,
        part=part,
        is_deciding=is_deciding,
        image_count=len(chosen),
        main_figure=figures.main,
        **{name: figures.shares.get(name) for name in COLUMNS},
        per_class=figures.per_class,
        confusion=figures.confusion,
        shortfalls=floor.shortfalls(figures.main, measured_recalls(figures.per_class)),
        figures={name: value for name, value in figures.shares.items() if name not in COLUMNS},
    )
