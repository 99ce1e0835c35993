"""The dashboard on the prediction service: rate, errors, duration, predictions, and the process."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Panel, Row
from grafana_foundation_sdk.models import units

from grafana import dashboard_frame
from grafana.data_sources import ALERTMANAGER, ALERTMANAGER_NAME, promql, promql_buckets
from grafana.panels import (
    HEIGHT,
    YES_IS_GOOD,
    ZERO_IS_GOOD,
    buckets,
    lines,
    number,
    states,
    thresholds,
)

_RATE = "rate(mycoflow_http_requests_total[$__rate_interval])"
_FAILED = 'rate(mycoflow_http_requests_total{status=~"5.."}[$__rate_interval])'
_ERRORS = f"(sum({_FAILED}) or vector(0)) / sum({_RATE})"
_PREDICTIONS = "rate(mycoflow_predictions_total[$__rate_interval])"
_CACHED = 'rate(mycoflow_predictions_total{outcome="cached"}[$__rate_interval])'


def build() -> Dashboard:
    """The dashboard."""
    empty = dashboard_frame.dashboard("mycoflow-service", "Service", "Is the prediction service healthy?", "now-6h")
    return _process(_predictions(_requests(_now(empty.annotation(dashboard_frame.told())))))


def _quantile(share: float, metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket[$__rate_interval])))"


def _alerts() -> Panel:
    options = {"alertmanager": ALERTMANAGER_NAME, "expandAll": False, "labels": ""}
    panel = Panel().type("alertGroups").title("Alerts that fire").options(options).datasource(ALERTMANAGER)
    return panel.description("Alerts in Alertmanager now. docs/operations.md explains each by its name.")


def _now(dashboard: Dashboard) -> Dashboard:
    return (
        dashboard.with_panel(
            number("Up", "Replicas that Prometheus can scrape.", 'sum(up{job="webapi"})', steps=YES_IS_GOOD)
        )
        .with_panel(
            number(
                "Database",
                "1: the service can read the database.",
                "min(mycoflow_database_up)",
                steps=YES_IS_GOOD,
            )
        )
        .with_panel(number("Requests", "Requests answered per second.", f"sum({_RATE})", units.RequestsPerSecond))
        .with_panel(
            number(
                "Errors",
                "Share of answers with status 5xx.",
                _ERRORS,
                units.PercentUnit,
                thresholds((None, "green"), (0.01, "orange"), (0.05, "red")),
            )
        )
        .with_panel(
            number(
                "95 % within",
                "95 % of the requests are answered within this time.",
                _quantile(0.95, "mycoflow_http_request_duration_seconds"),
                units.Seconds,
            )
        )
        .with_panel(
            number(
                "Not in production",
                "Replicas that serve another version than the one in production.",
                "count(mycoflow_served_version != on() group_left() max(mycoflow_champion_version)) or vector(0)",
                steps=ZERO_IS_GOOD,
            )
        )
        .with_panel(
            number(
                "Versions that do not load",
                "Failed loads in the last day. The service keeps the version before.",
                "sum(increase(mycoflow_model_load_failures_total[1d]))",
                steps=ZERO_IS_GOOD,
            )
        )
    )


def _requests(dashboard: Dashboard) -> Dashboard:
    duration = "mycoflow_http_request_duration_seconds"
    return (
        dashboard.with_row(Row("Requests"))
        .with_panel(_alerts().height(HEIGHT).span(24))
        .with_panel(
            lines("Rate", "By route.", [promql(f"sum by (route) ({_RATE})", "{{route}}")], units.RequestsPerSecond)
        )
        .with_panel(
            lines("Share of errors", "Answers with status 5xx.", [promql(_ERRORS, "5xx")], units.PercentUnit).min(0)
        )
        .with_panel(
            lines(
                "Duration",
                "Duration of all requests.",
                [
                    promql(_quantile(0.5, duration), "half within", "A"),
                    promql(_quantile(0.95, duration), "95 % within", "B"),
                    promql(_quantile(0.99, duration), "99 % within", "C"),
                ],
                units.Seconds,
            )
        )
        .with_panel(
            lines(
                "Answers by status",
                "4xx are errors of clients. 429 and 503 mean: try again later.",
                [promql(f"sum by (status) ({_RATE})", "{{status}}")],
                units.RequestsPerSecond,
            )
        )
    )


def _predictions(dashboard: Dashboard) -> Dashboard:
    stage = "mycoflow_stage_duration_seconds"
    confidence = "sum by (le) (increase(mycoflow_prediction_confidence_bucket[$__rate_interval]))"
    refused = "sum by (reason) (rate(mycoflow_predictions_refused_total[$__rate_interval]))"
    return (
        dashboard.with_row(Row("Predictions"))
        .with_panel(
            lines(
                "Stages, 95 % within",
                "Time of each stage of a prediction.",
                [promql(_quantile(0.95, stage, "stage"), "{{stage}}")],
                units.Seconds,
            )
        )
        .with_panel(
            buckets("Confidence", "Probability of the best class, of each prediction.", promql_buckets(confidence))
        )
        .with_panel(
            lines(
                "By class",
                "Predictions per second, by answered class.",
                [promql(f"sum by (class) ({_PREDICTIONS})", "{{class}}")],
                units.OpsPerSecond,
            )
        )
        .with_panel(
            lines(
                "Share from the cache",
                "Share of images that this version has computed before.",
                [promql(f"(sum({_CACHED}) or vector(0)) / sum({_PREDICTIONS})", "cached")],
                units.PercentUnit,
            )
            .min(0)
            .max(1)
        )
        .with_panel(lines("Refused", "By reason.", [promql(refused, "{{reason}}")], units.OpsPerSecond).min(0))
        .with_panel(
            lines(
                "In progress",
                "Predictions in progress, and their limit. At the limit, further requests are refused.",
                [
                    promql("sum(mycoflow_predictions_in_progress)", "in progress", "A"),
                    promql("sum(mycoflow_prediction_places)", "limit", "B"),
                ],
            ).min(0)
        )
    )


def _process(dashboard: Dashboard) -> Dashboard:
    return (
        dashboard.with_row(Row("Process"))
        .with_panel(
            lines(
                "Memory",
                "Resident memory. A slow rise without end is a leak.",
                [promql('process_resident_memory_bytes{job="webapi"}', "{{instance}}")],
                units.BytesIEC,
            ).min(0)
        )
        .with_panel(
            lines(
                "CPU",
                "CPU seconds per second.",
                [promql('rate(process_cpu_seconds_total{job="webapi"}[$__rate_interval])', "{{instance}}")],
            ).min(0)
        )
        .with_panel(
            lines(
                "Loading a version",
                "Seconds to load and warm up a version. The old version serves meanwhile.",
                [promql("max(mycoflow_model_load_seconds)", "load")],
                units.Seconds,
            ).min(0)
        )
        .with_panel(
            states(
                "Served version",
                "The version that each replica serves.",
                promql("max by (version) (mycoflow_model_info)", "version {{version}}"),
                thresholds((None, "green")),
            )
        )
        .with_panel(
            lines(
                "Swaps an hour",
                "Changes of the served version.",
                [promql("sum(increase(mycoflow_model_swaps_total[1h]))", "swaps")],
            ).min(0)
        )
        .with_panel(
            lines(
                "Feedback",
                "Feedback per hour, by verdict.",
                [promql("sum by (verdict) (increase(mycoflow_feedback_total[1h]))", "{{verdict}}")],
            ).min(0)
        )
    )
