"""Is the data moving? What arrives, what becomes training data, what is refused."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana import dashboard_frame
from grafana.data_sources import MIXED, POSTGRESQL, promql, sql_series, sql_table
from grafana.panels import ZERO_IS_GOOD, bars, lines, nightly_lines, number, rows, stacked_bars, thresholds

_ARRIVALS = """
SELECT date_trunc('day', received_at, 'UTC') AS time, coalesce(label_origin, 'no label') AS metric, count(*) AS value
FROM training.items WHERE $__timeFilter(received_at) GROUP BY 1, 2 ORDER BY 1
"""
_ENTERED = """
SELECT date_trunc('day', entered_pool_at, 'UTC') AS time, label_origin AS metric, count(*) AS value
FROM training.items WHERE $__timeFilter(entered_pool_at) GROUP BY 1, 2 ORDER BY 1
"""
_NEW_IMAGES = """
SELECT monitored_at AS time, new_images_human AS human, new_images_harvested AS harvested
FROM training.monitorings WHERE $__timeFilter(monitored_at) ORDER BY monitored_at
"""
_BALANCE = """
SELECT label, count(DISTINCT id) FILTER (WHERE label_origin <> 'harvested') AS human,
       count(DISTINCT id) FILTER (WHERE label_origin = 'harvested') AS harvested
FROM training.items, unnest(class_names) AS label WHERE entered_pool_at IS NOT NULL GROUP BY label ORDER BY label
"""
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
        "mycoflow-data", "Data", "Is the data moving, and is it what it should be?", "now-30d"
    )
    return _rejects(_pool(_now(empty.annotation(dashboard_frame.told()))))


def _now(dashboard: Dashboard) -> Dashboard:
    return (
        dashboard.with_panel(number("New images", "In the pool since the champion's snapshot.", _NEW))
        .with_panel(
            number(
                "Of the threshold",
                "Against MYCOFLOW_NEW_IMAGES_THRESHOLD. At 100 % the next night asks for retraining, unless that was "
                "tried.",
                f"{_NEW} / max(mycoflow_new_images_threshold)",
                units.PercentUnit,
                thresholds((None, "green"), (1, "blue"), (1.5, "orange")),
            )
        )
        .with_panel(number("Pool", "Images to train on.", "sum(max by (origin) (mycoflow_pool_images))"))
        .with_panel(
            number(
                "Age of the snapshot",
                "Since the cutoff of what the champion learned from.",
                "time() - max(mycoflow_snapshot_cutoff_timestamp_seconds)",
                units.Seconds,
            )
        )
        .with_panel(
            number(
                "Waiting images",
                "Wait for an admin's certificate.",
                "max(mycoflow_waiting_images)",
                steps=ZERO_IS_GOOD,
            )
        )
        .with_panel(
            number(
                "Quarantined batches",
                "Batches with too many rejects, waiting for an admin.",
                "max(mycoflow_quarantined_batches)",
                steps=ZERO_IS_GOOD,
            )
        )
    )


def _pool(dashboard: Dashboard) -> Dashboard:
    new_images = stacked_bars(
        "New images at each nightly check",
        "Human and harvested labels count together.",
        [sql_series(_NEW_IMAGES), promql("max(mycoflow_new_images_threshold)", "threshold", "B")],
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
        dashboard.with_row(Row("What arrives"))
        .with_panel(
            stacked_bars(
                "Arrivals a day",
                "Images received, by the origin of their label; without one they were only predicted.",
                [sql_series(_ARRIVALS)],
                POSTGRESQL,
            )
        )
        .with_panel(
            stacked_bars("Entered the pool a day", "Images to train on, by origin.", [sql_series(_ENTERED)], POSTGRESQL)
        )
        .with_panel(new_images)
        .with_panel(
            lines(
                "Pool by origin",
                "Images to train on.",
                [promql("max by (origin) (mycoflow_pool_images)", "{{origin}}")],
            ).min(0)
        )
        .with_panel(
            bars(
                "Classes in the pool",
                "A class far below the others is learned badly.",
                sql_table(_BALANCE),
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
        dashboard.with_row(Row("What is refused"))
        .with_panel(stacked_bars("Rejected files a day", "By reason.", [sql_series(_REJECTS)], POSTGRESQL))
        .with_panel(
            nightly_lines(
                "Share of rejects",
                "Of each batch. Above MYCOFLOW_QUARANTINE_SHARE a batch waits.",
                [sql_series(share)],
                units.PercentUnit,
            ).min(0)
        )
        .with_panel(rows("Batches", "What sources brought, newest first.", sql_table(_BATCHES)))
    )
