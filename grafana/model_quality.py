"""The dashboard on model quality: measured accuracy and recall, and drift and estimates without labels."""

from itertools import groupby

import sqlalchemy as sa
from grafana_foundation_sdk.builders.common import ScaleDistributionConfig
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import ScaleDistribution, TableCellDisplayMode
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue, MatcherConfig

from grafana import dashboard_frame
from grafana.data_sources import POSTGRESQL, promql, sql_series, sql_table
from grafana.panels import (
    WIDTH,
    YES_IS_GOOD,
    ZERO_IS_GOOD,
    nightly_lines,
    number,
    rows,
    shares_by_night,
    stacked_bars,
    states,
    thresholds,
)
from grafana.sql import CHAMPION, as_text, shown_time
from ml.catalog.tables import class_recalls, drift_checks, evaluations, monitorings
from ml.figures import NIGHTLY, Figure
from ml.reporting.figures_over_time.figure_queries import (
    checks_over_time,
    drift_over_time,
    evaluations_over_time,
    feedback_by_day,
    recalls_over_time,
)

_ACCURACY = evaluations_over_time(
    shown_time, evaluations.c.part.label("metric"), evaluations.c.main_figure.label("value")
)
_RECALL = recalls_over_time(
    shown_time, class_recalls.c.class_name.label("metric"), class_recalls.c.recall.label("value")
)
_CONFUSION = f"""
WITH latest AS (
    SELECT evaluations.confusion, model_versions.classes
    FROM training.evaluations JOIN training.model_versions ON version = model_version
    WHERE is_deciding AND model_version = ({as_text(CHAMPION)})
    ORDER BY evaluations.id DESC LIMIT 1
)
SELECT classes[line.number] AS "true class", classes[answer.number] AS answered, answer.images::int AS images
FROM latest,
    jsonb_array_elements(confusion) WITH ORDINALITY AS line (answers, number),
    jsonb_array_elements_text(line.answers) WITH ORDINALITY AS answer (images, number)
ORDER BY line.number, answer.number
"""  # noqa: S608
_SCORES = drift_over_time(
    shown_time,
    drift_checks.c.confidence_psi.label("confidence, PSI"),
    drift_checks.c.confidence_ks.label("confidence, KS"),
    drift_checks.c.class_psi.label("classes, PSI"),
    drift_checks.c.feature_mmd.label("features, squared MMD"),
)
_P_VALUES = drift_over_time(
    shown_time,
    drift_checks.c.confidence_p_value.label("confidence"),
    drift_checks.c.class_p_value.label("classes"),
    drift_checks.c.feature_p_value.label("features"),
    drift_checks.c.novelty_p_value.label("novelty"),
)
_NOVEL = drift_over_time(shown_time, drift_checks.c.novel_share.label("novel"))
_ESTIMATES = drift_over_time(
    shown_time,
    drift_checks.c.estimated_accuracy.label("estimated"),
    drift_checks.c.observed_accuracy.label("observed"),
    drift_checks.c.observed_accuracy_low.label("observed, low"),
    drift_checks.c.observed_accuracy_high.label("observed, high"),
)

_HOURS_OF_A_NIGHT = thresholds((None, "green"), (26 * 3600, "red"))
_IMAGES = MatcherConfig("byRegexp", "^(?!true class).*")


def build() -> Dashboard:
    """The dashboard."""
    empty = dashboard_frame.dashboard(
        "mycoflow-model-quality", "Model quality", "Is the model in production good, and does it stay good?", "now-30d"
    )
    marked = empty.annotation(dashboard_frame.moves()).annotation(dashboard_frame.told("alert"))
    return _drift(_nightly(_measured(_now(marked))))


def _now(dashboard: Dashboard) -> Dashboard:
    return (
        dashboard.with_panel(
            number("Version", "The version in production.", "max(mycoflow_champion_version)", units.NoUnit)
        )
        .with_panel(
            number(
                "Below the floor",
                "Number of figures below their floors: the accuracy, and the recall of each class with its own floor. "
                "Above 0, retraining is due.",
                "sum(max by (class) (mycoflow_below_floor))",
                steps=thresholds((None, "green"), (1, "red")),
            )
        )
        .with_panel(
            number(
                "Deciding accuracy",
                "On the part `recent` if it has 100 images or more, otherwise on `anchor`.",
                "max(mycoflow_deciding_accuracy)",
                units.PercentUnit,
            )
        )
        .with_panel(
            number(
                "Estimated accuracy",
                "From calibrated confidences of recent predictions. Too high if the features drift.",
                "max(mycoflow_estimated_accuracy)",
                units.PercentUnit,
            )
        )
        .with_panel(
            number(
                "Last evaluation",
                "Time since the last scoring on the evaluation set. Above 26 hours, a night is missing.",
                "time() - max(mycoflow_evaluation_timestamp_seconds)",
                units.Seconds,
                _HOURS_OF_A_NIGHT,
            )
        )
        .with_panel(
            number(
                "Promotion held",
                "1 after a rollback: no automatic promotion until an admin releases it.",
                "max(mycoflow_promotion_held)",
                steps=ZERO_IS_GOOD,
            )
        )
    )


def _measured(dashboard: Dashboard) -> Dashboard:
    accuracy = nightly_lines(
        "Accuracy",
        "Accuracy of the version in production at the time, on both parts of the evaluation set, and the floor.",
        [sql_series(as_text(_ACCURACY)), promql("max(mycoflow_accuracy_floor)", "floor", "B")],
        units.PercentUnit,
        WIDTH,
    ).override_by_name(
        "floor",
        [
            DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "red"}),
            DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
            DynamicConfigValue("custom.showPoints", "never"),
        ],
    )
    confusion = (
        rows(
            "Confusion",
            "Images by true class (rows) and answered class (columns), at the latest evaluation.",
            sql_table(_CONFUSION),
        )
        .with_transformation(
            DataTransformerConfig(
                "groupingToMatrix",
                options={
                    "columnField": "answered",
                    "rowField": "true class",
                    "valueField": "images",
                    "emptyValue": "zero",
                },
            )
        )
        .with_override(
            _IMAGES,
            [
                DynamicConfigValue("custom.cellOptions", {"type": TableCellDisplayMode.COLOR_BACKGROUND}),
                DynamicConfigValue("color", {"mode": "continuous-blues"}),
            ],
        )
        .height(12)
    )
    return (
        dashboard.with_row(Row("Measured on the evaluation set"))
        .with_panel(accuracy.axis_soft_max(1))
        .with_panel(
            shares_by_night(
                "Recall of each class", "Share of a class's images with the right answer.", sql_series(as_text(_RECALL))
            )
        )
        .with_panel(confusion)
    )


def _nightly(dashboard: Dashboard) -> Dashboard:
    """Add a panel for each panel title in ml.figures.NIGHTLY."""
    dashboard.with_row(Row("At the nightly check"))
    for (title,), group in groupby(NIGHTLY, key=lambda figure: figure.panels):
        figures = list(group)
        query = checks_over_time(shown_time, *(_at_night(each).label(each.words) for each in figures))
        what = "; ".join(f"{each.words}: {each.meaning}" for each in figures)
        unit = units.PercentUnit if figures[0].unit == "share" else units.Short
        dashboard.with_panel(nightly_lines(title, f"{what}.", [sql_series(as_text(query))], unit))
    return dashboard


def _at_night(figure: Figure) -> sa.ColumnElement[float]:
    """Return a figure of the nightly check: its column if it has one."""
    if figure.name in monitorings.c:
        return monitorings.c[figure.name]
    return sa.cast(monitorings.c.figures[figure.name].astext, sa.Float)


def _drift(dashboard: Dashboard) -> Dashboard:
    p_values = nightly_lines(
        "p-values of drift",
        "Probability of such a difference by chance. Each night has four tests: only values far below 0.01 count.",
        [sql_series(as_text(_P_VALUES))],
    ).scale_distribution(ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10))
    return (
        dashboard.with_row(Row("Without labels"))
        .with_panel(
            nightly_lines(
                "Drift scores",
                "Recent predictions compared with the training data. A PSI of 0.2 is considerable.",
                [sql_series(as_text(_SCORES))],
            )
        )
        .with_panel(p_values)
        .with_panel(
            states(
                "What drifts",
                "Red: the drift is significant and considerable.",
                promql("max by (what) (mycoflow_drift_moved)", "{{what}}"),
                thresholds((None, "green"), (1, "red")),
            )
        )
        .with_panel(
            nightly_lines(
                "Novel images",
                "Share of recent predictions that seem to show none of the known classes. Of known images, 5 % do.",
                [sql_series(as_text(_NOVEL))],
                units.PercentUnit,
            )
        )
        .with_panel(
            nightly_lines(
                "Estimated and observed accuracy",
                "Estimated from confidences; observed from feedback, with its 95 % interval. People give feedback more "
                "often on wrong answers.",
                [sql_series(as_text(_ESTIMATES))],
                units.PercentUnit,
            )
        )
        .with_panel(
            stacked_bars(
                "Feedback a day", "By verdict.", [sql_series(as_text(feedback_by_day(shown_time)))], POSTGRESQL, span=12
            )
        )
        .with_panel(
            states(
                "Database",
                "Red: the service cannot read the database, and all figures from it are missing.",
                promql("max(mycoflow_database_up)", "database"),
                YES_IS_GOOD,
            )
        )
    )
