"""The dashboard on data: arriving images, training data, and rejected files."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana import dashboard_frame
from grafana.data_sources import MIXED, POSTGRESQL, promql, sql_series, sql_table
from grafana.panels import ZERO_IS_GOOD, bars, lines, nightly_lines, number, rows, stacked_bars, thresholds
from grafana.sql import as_text, shown_time
from ml.catalog.images.daily_arrivals import entered_by_day
from ml.catalog.tables import monitorings
from ml.reporting.figures_over_time.figure_queries import checks_over_time, pool_by_class

_ARRIVALS = """
SELECT date_trunc('day', received_at, 'UTC') AS time, coalesce(label_origin, 'no label') AS metric, count(*) AS value
FROM training.items WHERE $__timeFilter(received_at) GROUP BY 1, 2 ORDER BY 1
"""
_NEW_IMAGES = checks_over_time(
    shown_time, monitorings.c.new_images_human.label("human"), monitorings.c.new_images_harvested.label("harvested")
)
_REJECTS = """
SELECT date_trunc('day', ingested_at, 'UTC') AS time, reason AS metric, count(*) AS value
FROM training.ingest_files JOIN training.ingest_batches ON ingest_batches.id = batch_id
WHERE outcome = 'rejected' AND $__timeFilter(ingested_at) GROUP BY 1, 2 ORDER BY 1
"""
_BATCHES = """
SELECT ingested_at AS time, ingest_batches.id AS batch, source, is_quarantined AS quarantined,
       count(*) FILTER (WHERE outcome = 'entered') AS entered,
       count(*) FILTER (WHERE outcome = 'waiting') AS waiting,
       count(*) FILTER (WHERE outcome = 'duplicate') AS duplicates,
       count(*) FILTER (WHERE outcome = 'rejected') AS rejected
FROM training.ingest_batches LEFT JOIN training.ingest_files ON batch_id = ingest_batches.id
WHERE $__timeFilter(ingested_at) GROUP BY ingest_batches.id ORDER BY ingest_batches.id DESC LIMIT 50
"""

_NEW = "sum(max by (origin) (mycoflow_new_images))"


def build() -> Dashboard:
    """The dashboard."""
    empty = dashboard_frame.dashboard(
        "mycoflow-data", "Data", "Do new images arrive, and are they as expected?", "now-30d"
    )
    return _rejects(_pool(_now(empty.annotation(dashboard_frame.told()))))


def _now(dashboard: Dashboard) -> Dashboard:
    return (
        dashboard.with_panel(number("New images", "In the pool since the champion's snapshot.", _NEW))
        .with_panel(
            number(
                "Of the threshold",
                "New images as a share of MYCOFLOW_NEW_IMAGES_THRESHOLD. At 100 % the next night requests retraining, "
                "unless a training has used them already.",
                f"{_NEW} / max(mycoflow_new_images_threshold)",
                units.PercentUnit,
                thresholds((None, "green"), (1, "blue"), (1.5, "orange")),
            )
        )
        .with_panel(number("Pool", "Images for training.", "sum(max by (origin) (mycoflow_pool_images))"))
        .with_panel(
            number(
                "Age of the snapshot",
                "Time since the cutoff of the champion's snapshot.",
                "time() - max(mycoflow_snapshot_cutoff_timestamp_seconds)",
                units.Seconds,
            )
        )
        .with_panel(
            number(
                "Waiting images",
                "Images that wait for an admin's certificate.",
                "max(mycoflow_waiting_images)",
                steps=ZERO_IS_GOOD,
            )
        )
        .with_panel(
            number(
                "Quarantined batches",
                "Batches with too many rejects, which wait for an admin.",
                "max(mycoflow_quarantined_batches)",
                steps=ZERO_IS_GOOD,
            )
        )
    )


def _pool(dashboard: Dashboard) -> Dashboard:
    new_images = stacked_bars(
        "New images at each nightly check",
        "Human and harvested labels count together.",
        [sql_series(as_text(_NEW_IMAGES)), promql("max(mycoflow_new_images_threshold)", "threshold", "B")],
        MIXED,
    ).override_by_name(
        "threshold",
        [
            DynamicConfigValue("custom.drawStyle", "line"),
            DynamicConfigValue("custom.fillOpacity", 0),
            DynamicConfigValue("custom.stacking", {"mode": "none", "group": "B"}),
            DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "red"}),
        ],
    )
    return (
        dashboard.with_row(Row("Arriving images"))
        .with_panel(
            stacked_bars(
                "Arrivals a day",
                "Images received, by label origin. Images without a label were only sent for prediction.",
                [sql_series(_ARRIVALS)],
                POSTGRESQL,
            )
        )
        .with_panel(
            stacked_bars(
                "Entered the pool a day",
                "Images for training, by label origin.",
                [sql_series(as_text(entered_by_day(shown_time)))],
                POSTGRESQL,
            )
        )
        .with_panel(new_images)
        .with_panel(
            lines(
                "Pool by origin",
                "Images for training.",
                [promql("max by (origin) (mycoflow_pool_images)", "{{origin}}")],
            ).min(0)
        )
        .with_panel(
            bars(
                "Classes in the pool",
                "A model does not learn a class well that has far fewer images than the others.",
                sql_table(as_text(pool_by_class())),
                "label",
                span=24,
            )
        )
    )


def _rejects(dashboard: Dashboard) -> Dashboard:
    share = """
SELECT ingested_at AS time, source AS metric, reject_share AS value
FROM training.ingest_batches WHERE $__timeFilter(ingested_at) ORDER BY ingested_at
"""
    return (
        dashboard.with_row(Row("Rejected files"))
        .with_panel(stacked_bars("Rejected files a day", "By reason.", [sql_series(_REJECTS)], POSTGRESQL))
        .with_panel(
            nightly_lines(
                "Share of rejects",
                "In each batch. Above MYCOFLOW_QUARANTINE_SHARE a batch waits.",
                [sql_series(share)],
                units.PercentUnit,
            ).min(0)
        )
        .with_panel(rows("Batches", "Images from sources, newest first.", sql_table(_BATCHES)))
    )
