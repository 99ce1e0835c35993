"""The dashboard on model quality: measured accuracy and recall, and drift and estimates without labels."""

from itertools import groupby

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
from grafana.sql import CHAMPION, champion_at
from ml.figures import NIGHTLY

_ACCURACY = f"""
SELECT evaluated_at AS time, part AS metric, main_figure AS value FROM training.evaluations
WHERE $__timeFilter(evaluated_at) AND model_version = {champion_at("evaluated_at")}
ORDER BY evaluated_at
"""  # noqa: S608
_RECALL = f"""
SELECT evaluated_at AS time, each.label AS metric, (each.figures->>'recall')::float AS value
FROM training.evaluations, jsonb_each(per_class) AS each (label, figures)
WHERE $__timeFilter(evaluated_at) AND is_deciding AND model_version = {champion_at("evaluated_at")}
      AND (each.figures->>'image_count')::int > 0 -- a class without images has a recall of 0 by definition
ORDER BY evaluated_at, each.label
"""  # noqa: S608
_CHECKS = "FROM training.monitorings WHERE $__timeFilter(monitored_at) ORDER BY monitored_at"
_CONFUSION = f"""
WITH latest AS (
    SELECT evaluations.confusion, model_versions.classes
    FROM training.evaluations JOIN training.model_versions ON version = model_version
    WHERE is_deciding AND model_version = {CHAMPION}
    ORDER BY evaluations.id DESC LIMIT 1
)
SELECT classes[line.number] AS "true class", classes[answer.number] AS answered, answer.images::int AS images
FROM latest,
    jsonb_array_elements(confusion) WITH ORDINALITY AS line (answers, number),
    jsonb_array_elements_text(line.answers) WITH ORDINALITY AS answer (images, number)
ORDER BY line.number, answer.number
"""  # noqa: S608
_SCORES = """
SELECT checked_at AS time, confidence_psi AS "confidence, PSI", confidence_ks AS "confidence, KS",
       class_psi AS "classes, PSI", feature_mmd AS "features, squared MMD"
FROM training.drift_checks WHERE $__timeFilter(checked_at) ORDER BY checked_at
"""
_P_VALUES = """
SELECT checked_at AS time, confidence_p_value AS confidence, class_p_value AS classes, feature_p_value AS features,
       novelty_p_value AS novelty
FROM training.drift_checks WHERE $__timeFilter(checked_at) ORDER BY checked_at
"""
_NOVEL = """
SELECT checked_at AS time, novel_share AS novel
FROM training.drift_checks WHERE $__timeFilter(checked_at) ORDER BY checked_at
"""
_ESTIMATES = """
SELECT checked_at AS time, estimated_accuracy AS estimated, observed_accuracy AS observed,
       observed_accuracy_low AS "observed, low", observed_accuracy_high AS "observed, high"
FROM training.drift_checks WHERE $__timeFilter(checked_at) ORDER BY checked_at
"""
_FEEDBACK = """
SELECT date_trunc('day', given_at, 'UTC') AS time, verdict AS metric, count(*) AS value
FROM logs.feedback WHERE $__timeFilter(given_at) GROUP BY 1, 2 ORDER BY 1
"""

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
        [sql_series(_ACCURACY), promql("max(mycoflow_accuracy_floor)", "floor", "B")],
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
                "Recall of each class", "Share of a class's images with the right answer.", sql_series(_RECALL)
            )
        )
        .with_panel(confusion)
    )


def _nightly(dashboard: Dashboard) -> Dashboard:
    """Add a panel for each panel title in ml.figures.NIGHTLY."""
    dashboard.with_row(Row("At the nightly check"))
    for (title,), group in groupby(NIGHTLY, key=lambda figure: figure.panels):
        figures = list(group)
        columns = ", ".join(f"""(figures->>'{each.name}')::float AS "{each.words}\"""" for each in figures)
        sql = f"SELECT monitored_at AS time, {columns} {_CHECKS}"
        what = "; ".join(f"{each.words}: {each.meaning}" for each in figures)
        unit = units.PercentUnit if figures[0].unit == "share" else units.Short
        dashboard.with_panel(nightly_lines(title, f"{what}.", [sql_series(sql)], unit))
    return dashboard


def _drift(dashboard: Dashboard) -> Dashboard:
    p_values = nightly_lines(
        "p-values of drift",
        "Probability of such a difference by chance. Each night has four tests: only values far below 0.01 count.",
        [sql_series(_P_VALUES)],
    ).scale_distribution(ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10))
    return (
        dashboard.with_row(Row("Without labels"))
        .with_panel(
            nightly_lines(
                "Drift scores",
                "Recent predictions compared with the training data. A PSI of 0.2 is considerable.",
                [sql_series(_SCORES)],
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
                [sql_series(_NOVEL)],
                units.PercentUnit,
            )
        )
        .with_panel(
            nightly_lines(
                "Estimated and observed accuracy",
                "Estimated from confidences; observed from feedback, with its 95 % interval. People give feedback more "
                "often on wrong answers.",
                [sql_series(_ESTIMATES)],
                units.PercentUnit,
            )
        )
        .with_panel(stacked_bars("Feedback a day", "By verdict.", [sql_series(_FEEDBACK)], POSTGRESQL, span=12))
        .with_panel(
            states(
                "Database",
                "Red: the service cannot read the database, and all figures from it are missing.",
                promql("max(mycoflow_database_up)", "database"),
                YES_IS_GOOD,
            )
        )
    )
