"""The table of all figures: name, unit, meaning, and where each figure is shown.

MLflow, the gauges, the report, dashboards and docs/operations.md are generated from it, or tests compare them with it.
A new figure of the nightly check is a row in NIGHTLY, and its value in ml.evaluation.nightly_figures. Then run
`python -m grafana` to generate the dashboards and the documentation again.
"""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["share", "images", "batches", "number", "score", "seconds", "time", "version", "0 or 1"]


def words_of(name: str) -> str:
    """Return a figure's name for the middle of a sentence: `f1_macro` is "f1 macro"."""
    return name.replace("_", " ")


def title_of(name: str) -> str:
    """Return a figure's name for people: "F1 macro" for `f1_macro`."""
    return words_of(name).capitalize()


def fold_metric(fold: Literal["training", "validation", "evaluation"], name: str) -> str:
    """Return the name, in the MLflow run of a training, of a task's figure on a fold: `training_f1_macro`.

    Args: fold, or `evaluation` for the deciding part of the evaluation set.
    """
    return f"{fold}_{name}"


@dataclass(frozen=True)
class Figure:
    """One figure.

    Args:
        name: the gauge's name without `mycoflow_`; a figure without a gauge has a name in the same style.
        unit: a share is from 0 to 1, a time is in seconds since 1970.
        meaning: help text of the gauge, in Markdown.
        normal: the value in a healthy deployment.
        labels: labels of the gauge.
        metric: name in the MLflow run of the nightly check.
        columns: columns `table.column` in the schema `training` that store it; none if it is counted at each reading.
        panels: titles of the Grafana panels that show it.
        is_gauge: whether the service exports it to Prometheus.
        is_reported: whether the report shows it.
    """

    name: str
    unit: Unit
    meaning: str
    normal: str = ""
    labels: tuple[str, ...] = ()
    metric: str | None = None
    columns: tuple[str, ...] = ()
    panels: tuple[str, ...] = ()
    is_gauge: bool = True
    is_reported: bool = False

    @property
    def gauge(self) -> str:
        """Return the name in Prometheus."""
        return f"mycoflow_{self.name}"

    @property
    def words(self) -> str:
        """Return the name in words."""
        return words_of(self.name)


def _nightly(name: str, unit: Unit, meaning: str, normal: str, panel: str, *columns: str) -> Figure:
    kept = ("monitorings.figures", *columns)
    return Figure(name, unit, meaning, normal, (), name, kept, (panel,), is_reported=True)


_MACRO = "Precision, recall and F1"
_DISTORTED = "Accuracy on distorted photos"
_CALIBRATION = "Calibration error"
_NOVEL = "Known images called novel"

# The nightly check's figures of the champion on the deciding part of the evaluation set, besides its accuracy.
NIGHTLY = (
    _nightly(
        "precision_macro",
        "share",
        "mean over the classes: the share of answers with this class that are right",
        "about the accuracy",
        _MACRO,
        "evaluations.precision_macro",
    ),
    _nightly(
        "recall_macro",
        "share",
        "mean over the classes: the share of a class's images that get the right answer",
        "about the accuracy",
        _MACRO,
        "evaluations.recall_macro",
    ),
    _nightly(
        "f1_macro",
        "share",
        "mean over the classes: harmonic mean of a class's precision and recall",
        "about the accuracy",
        _MACRO,
        "evaluations.f1_macro",
    ),
    _nightly(
        "accuracy_under_blur",
        "share",
        "accuracy on photos of the evaluation set, made out of focus",
        "falls with no promotion",
        _DISTORTED,
    ),
    _nightly(
        "accuracy_under_noise",
        "share",
        "accuracy on photos of the evaluation set, with the noise of a sensor in poor light",
        "falls with no promotion",
        _DISTORTED,
    ),
    _nightly(
        "accuracy_under_jpeg",
        "share",
        "accuracy on photos of the evaluation set, compressed to JPEG of quality 25",
        "falls with no promotion",
        _DISTORTED,
    ),
    _nightly(
        "accuracy_under_darkness",
        "share",
        "accuracy on photos of the evaluation set, darkened to 40 % of their light",
        "falls with no promotion",
        _DISTORTED,
    ),
    _nightly(
        "calibration_error",
        "share",
        "root mean square difference between confidence and accuracy, without the part that chance adds",
        "below 0.05",
        _CALIBRATION,
        "monitorings.calibration_error",
    ),
    _nightly(
        "calibration_error_low",
        "share",
        "lower end of its 95 % interval",
        "",
        _CALIBRATION,
        "monitorings.calibration_error_low",
    ),
    _nightly(
        "calibration_error_high",
        "share",
        "upper end of its 95 % interval",
        "",
        _CALIBRATION,
        "monitorings.calibration_error_high",
    ),
    _nightly(
        "known_called_novel",
        "share",
        "share of the evaluation set's images that the champion takes for none of its classes",
        "about 0.05",
        _NOVEL,
    ),
    _nightly("known_called_novel_low", "share", "lower end of its 95 % interval", "", _NOVEL),
    _nightly("known_called_novel_high", "share", "upper end of its 95 % interval", "", _NOVEL),
)

DATABASE_UP = Figure(
    "database_up", "0 or 1", "1 if the database gives the other figures of this table", "1", panels=("Database",)
)

_MODEL = (
    DATABASE_UP,
    Figure(
        "champion_version",
        "version",
        "the version in production, whether the service serves it or not",
        "`mycoflow_served_version`",
        columns=("promotions.to_version",),
        panels=("Version", "Not in production"),
        is_reported=True,
    ),
    Figure("accuracy_floor", "share", "`MYCOFLOW_ACCURACY_FLOOR`", "0.7", panels=("Accuracy",), is_reported=True),
    Figure(
        "below_floor",
        "0 or 1",
        "1 if the accuracy is below its floor; by `class`, 1 if the recall is below the class's own floor",
        "0",
        ("class",),
        columns=("evaluations.shortfalls", "monitorings.shortfalls", "monitorings.is_below_floor"),
        panels=("Below the floor", "Nightly checks"),
    ),
    Figure(
        "model_accuracy",
        "share",
        "the champion's, or the main figure of another task, by `part` of the evaluation set: `anchor`, `recent`",
        "within 3 points of the best",
        ("part",),
        columns=("evaluations.main_figure", "evaluations.accuracy"),
        panels=("Accuracy",),
        is_reported=True,
    ),
    Figure(
        "deciding_accuracy",
        "share",
        "the champion's accuracy on the part that is compared with the floor",
        "above the floor",
        metric="accuracy",
        columns=("evaluations.main_figure", "monitorings.main_figure"),
        panels=("Deciding accuracy", "Nightly checks"),
        is_reported=True,
    ),
    Figure(
        "class_recall",
        "share",
        "the champion's recall, by `part` and `class`, without classes that have no images there",
        "",
        ("part", "class"),
        columns=("evaluations.per_class", "class_recalls.recall"),
        panels=("Recall of each class",),
        is_reported=True,
    ),
    Figure(
        "evaluation_timestamp_seconds",
        "time",
        "time of the champion's latest evaluation",
        "last night",
        columns=("evaluations.evaluated_at",),
        panels=("Last evaluation",),
    ),
    Figure(
        "promotion_timestamp_seconds",
        "time",
        "time when the champion went into production",
        columns=("promotions.completed_at",),
        is_reported=True,
    ),
    Figure(
        "monitoring_timestamp_seconds",
        "time",
        "time of the latest nightly check",
        "last night",
        columns=("monitorings.monitored_at",),
        panels=("Last nightly check", "Nightly checks"),
        is_reported=True,
    ),
)

_IMAGES = (
    Figure(
        "new_images",
        "images",
        "images since the champion's snapshot that a snapshot could use, by `origin`: `human`, `harvested`",
        "in sum below `mycoflow_new_images_threshold`",
        ("origin",),
        metric="new_images",
        columns=("monitorings.new_images_human", "monitorings.new_images_harvested"),
        panels=("New images", "Of the threshold", "New images at each nightly check", "Nightly checks"),
        is_reported=True,
    ),
    Figure(
        "new_images_harvested",
        "images",
        "new images that the model labelled itself",
        metric="new_images_harvested",
        columns=("monitorings.new_images_harvested",),
        panels=("New images at each nightly check",),
        is_gauge=False,
        is_reported=True,
    ),
    Figure(
        "new_images_threshold",
        "images",
        "`MYCOFLOW_NEW_IMAGES_THRESHOLD`",
        "500",
        panels=("Of the threshold", "New images at each nightly check"),
        is_reported=True,
    ),
    Figure(
        "untried_images",
        "images",
        "new images that came after the snapshot of the latest training with a verdict, promoted or not; at the "
        "threshold, the next night retrains",
    ),
    Figure(
        "pool_images",
        "images",
        "images for training, by `origin`: `curated`, `confirmed`, `harvested`",
        "",
        ("origin",),
        panels=("Pool", "Pool by origin"),
        is_reported=True,
    ),
    Figure(
        "quarantined_batches",
        "batches",
        "batches that wait because too many of their files were rejected: `mycoflow batch list`",
        "0",
        panels=("Quarantined batches",),
    ),
    Figure(
        "waiting_images",
        "images",
        "images that wait for a certificate",
        "falls when an admin decides",
        panels=("Waiting images",),
    ),
)

_TRAININGS = (
    Figure(
        "snapshot_cutoff_timestamp_seconds",
        "time",
        "cutoff of the champion's snapshot: it was trained on older pool images only",
        "within `MYCOFLOW_REVIEW_INTERVAL_DAYS`",
        columns=("snapshots.cutoff",),
        panels=("Age of the snapshot",),
        is_reported=True,
    ),
    Figure(
        "retraining_timestamp_seconds",
        "time",
        "time of the latest verdict on a training",
        columns=("verdicts.decided_at",),
        panels=("Last training",),
        is_reported=True,
    ),
    Figure(
        "retraining_duration_seconds",
        "seconds",
        "time from that training's start to its verdict",
        "about a minute; longer for a fine-tuning or a search",
        columns=("attempts.started_at", "verdicts.decided_at"),
        panels=("Last training took", "Seconds to a verdict"),
        is_reported=True,
    ),
    Figure(
        "retraining_failure_timestamp_seconds",
        "time",
        "latest time at which a step failed for good, among trainings that have not ended since",
        "absent, or before the last verdict",
        panels=("Last failure",),
    ),
    Figure(
        "approvals_waiting",
        "number",
        "challengers that wait for a person's approval, with `MYCOFLOW_PROMOTION=approve`",
        "0",
        panels=("Approvals waiting",),
    ),
    Figure(
        "promotion_held",
        "0 or 1",
        "1 if a rollback holds automatic promotion, until `mycoflow release`",
        "0",
        panels=("Promotion held",),
    ),
)

_DRIFT = (
    Figure(
        "drift_check_timestamp_seconds",
        "time",
        "time of the latest check for drift, of any version",
        "last night",
        columns=("drift_checks.checked_at",),
    ),
    Figure(
        "drift",
        "score",
        "drift scores, by `score`: `confidence_psi`, `confidence_ks`, `class_psi`, `feature_mmd`",
        "PSI below 0.2, the others near 0",
        ("score",),
        columns=(
            "drift_checks.confidence_psi",
            "drift_checks.confidence_ks",
            "drift_checks.class_psi",
            "drift_checks.feature_mmd",
        ),
        panels=("Drift scores",),
    ),
    Figure(
        "drift_p_value",
        "share",
        "p-values of drift `of` `confidence`, `classes`, `features`, `novelty`: how probable such a score is by chance",
        "above 0.01",
        ("of",),
        columns=(
            "drift_checks.confidence_p_value",
            "drift_checks.class_p_value",
            "drift_checks.feature_p_value",
            "drift_checks.novelty_p_value",
        ),
        panels=("p-values of drift",),
    ),
    Figure(
        "drift_moved",
        "0 or 1",
        "1 if the drift is significant and considerable, by `what`: `confidence`, `classes`, `features`, `novelty`",
        "0",
        ("what",),
        columns=("drift_checks.moved",),
        panels=("What drifts",),
    ),
    Figure(
        "novel_share",
        "share",
        "share of recent predictions whose images seem to show none of the known classes",
        "below 0.1",
        columns=("drift_checks.novel_share",),
        panels=("Novel images",),
        is_reported=True,
    ),
    Figure(
        "estimated_accuracy",
        "share",
        "accuracy of recent predictions, estimated from calibrated confidences",
        "about the deciding accuracy",
        columns=("drift_checks.estimated_accuracy",),
        panels=("Estimated accuracy", "Estimated and observed accuracy"),
        is_reported=True,
    ),
    Figure(
        "observed_accuracy",
        "share",
        "accuracy of recent predictions, according to feedback",
        "below the estimated accuracy",
        columns=("drift_checks.observed_accuracy",),
        panels=("Estimated and observed accuracy",),
        is_reported=True,
    ),
    Figure(
        "observed_accuracy_low",
        "share",
        "lower end of the 95 % interval of the observed accuracy",
        columns=("drift_checks.observed_accuracy_low",),
        panels=("Estimated and observed accuracy",),
        is_reported=True,
    ),
    Figure(
        "observed_accuracy_high",
        "share",
        "upper end of the 95 % interval of the observed accuracy",
        columns=("drift_checks.observed_accuracy_high",),
        panels=("Estimated and observed accuracy",),
        is_reported=True,
    ),
)

FIGURES = (*_MODEL, *NIGHTLY, *_IMAGES, *_TRAININGS, *_DRIFT)
"""All figures that are read from the catalog."""
