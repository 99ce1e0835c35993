"""The nightly check: measure the champion, count new images, and decide whether to request a retraining."""

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from ml.app import Workspace
from ml.catalog.clock import days_since
from ml.catalog.models import attempts, evaluations, model_versions
from ml.catalog.models.evaluations import Evaluation
from ml.confidence.reliability_plot import save_reliability
from ml.data import pool
from ml.data.snapshot_rules import count_new_images, nightly_rules
from ml.evaluation.champion_notices import raise_nightly_alerts
from ml.evaluation.floor import floor_of, measured_recalls
from ml.evaluation.nightly_figures import measure_night
from ml.evaluation.right_answers import read_right_answers
from ml.evaluation.triggers import LastAttempt, Review, reasons_to_retrain
from ml.figures import FIGURES
from ml.registry.mlflow_runs import MONITORING_EXPERIMENT, Run
from ml.training.recipes import Retrain, decode_recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MonitorReport:
    """The result of a nightly check. Retraining is requested if there are reasons."""

    model_version: int
    main_figure: float
    is_below_floor: bool
    new_images: int  # only images that a snapshot could use
    harvested_images: int  # among the new images
    reasons: list[str]

    @property
    def is_retraining_requested(self) -> bool:
        return bool(self.reasons)


def check(workspace: Workspace, deciding: Evaluation) -> MonitorReport:
    """Log the nightly check in MLflow, store it, and raise alerts.

    The order matters: the alert on missed nights takes a stored check as a night that succeeded.

    Args: deciding, the champion's evaluation that the floor applies to.
    """
    version, settings = deciding.model_version, workspace.settings
    for sentence in floor_of(settings).describe_unmeasured(measured_recalls(deciding.per_class)):
        logger.warning("%s", sentence)
    with workspace.catalog.begin() as connection:
        known_until = model_versions.knows_images_until(connection, version)
        count = partial(
            count_new_images,
            connection,
            rules=nightly_rules(settings),
            classes=model_versions.load_model_version(connection, version).classes,
        )
        new_images = count(known_until)
        reasons = reasons_to_retrain(
            deciding.shortfalls,
            new_images.total,
            settings.new_images_threshold,
            Review(days_since(connection, known_until), settings.review_interval_days),
            _last_attempt(workspace, connection, lambda cutoff: count(cutoff).total),
        )
    report = MonitorReport(
        version, deciding.main_figure, bool(deciding.shortfalls), new_images.total, new_images.harvested, reasons
    )
    figures = measure_night(workspace, deciding)
    _log(workspace, report, deciding, figures)
    with workspace.catalog.begin() as connection:
        evaluations.save_monitoring(
            connection,
            version,
            deciding.evaluation_set_version,
            deciding.main_figure,
            deciding.shortfalls,
            new_images,
            reasons,
            figures,
        )
        raise_nightly_alerts(connection, settings, version, deciding.shortfalls, new_images.total)
    return report


def _last_attempt(
    workspace: Workspace, connection: Connection, count_since: Callable[[datetime], int]
) -> LastAttempt | None:
    last = attempts.last_standing_attempt(connection)
    if last is None:
        return None
    tonight = Retrain(workspace.settings.snapshot_size).pin(workspace.settings, None)
    return LastAttempt(
        is_under_way=last.is_under_way,
        has_same_parameters=decode_recipe(last.parameters) == tonight,
        has_same_pool=last.pool_state == pool.pool_state(connection),
        images_since=count_since(last.cutoff),
        age_days=days_since(connection, last.cutoff),
    )


def _log(workspace: Workspace, report: MonitorReport, deciding: Evaluation, figures: Mapping[str, float]) -> None:
    values = {
        "deciding_accuracy": report.main_figure,
        "new_images": report.new_images,
        "new_images_harvested": report.harvested_images,
        **figures,
    }
    tags = {"model_version": str(report.model_version), "reasons": " ".join(report.reasons)}
    with workspace.registry.run(MONITORING_EXPERIMENT, f"version-{report.model_version}", tags) as run:
        run.log_metrics(
            {figure.metric: values[figure.name] for figure in FIGURES if figure.metric and figure.name in values}
        )
        run.log_report("evaluation.json", asdict(deciding))
        _log_reliability(workspace, deciding, run)


def _log_reliability(workspace: Workspace, deciding: Evaluation, run: Run) -> None:
    """Log how far the confidences on the evaluation set are right, if an answer of the task is right or wrong."""
    answers = read_right_answers(
        workspace.catalog,
        workspace.task,
        deciding.model_version,
        deciding.evaluation_set_version,
        deciding.part,
        deciding.per_class,
    )
    if answers is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reliability.png"
        save_reliability(answers.confidences, answers.right, path)
        run.log_picture(path)
