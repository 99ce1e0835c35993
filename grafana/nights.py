"""The dashboard on the nights: checks, trainings, verdicts, and Airflow itself."""

from grafana_foundation_sdk.builders import stat
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models import units

from grafana import dashboard_frame
from grafana.data_sources import PROMETHEUS, promql, sql_series, sql_table
from grafana.panels import ZERO_IS_GOOD, lines, nightly_lines, number, rows, stacked_bars, thresholds

_CHECKS = """
SELECT monitored_at AS time, model_version AS version, main_figure AS "main figure",
       new_images_human + new_images_harvested AS new_images,
       is_below_floor AS "below the floor", is_retraining_requested AS retraining,
       array_to_string(reasons, ' ') AS reasons
FROM training.monitorings WHERE $__timeFilter(monitored_at) ORDER BY id DESC LIMIT 100
"""
_ATTEMPTS = """
SELECT started_at AS time, reason, attempts.model_version AS version, coalesce(decision, 'no verdict') AS verdict,
       extract(epoch FROM decided_at - started_at)::float AS seconds,
       challenger_figure, champion_figure,
       array_to_string(reasons, ' ') AS reasons
FROM training.attempts LEFT JOIN training.verdicts ON attempt_id = id
WHERE $__timeFilter(started_at) ORDER BY id DESC LIMIT 100
"""
_DURATIONS = """
SELECT decided_at AS time, decision AS metric, extract(epoch FROM decided_at - started_at)::float AS value
FROM training.attempts JOIN training.verdicts ON attempt_id = id
WHERE $__timeFilter(decided_at) ORDER BY decided_at
"""
_MOVES = """
SELECT intended_at AS time, kind, from_version AS "from", to_version AS "to", completed_at IS NOT NULL AS completed,
       reason
FROM training.promotions WHERE $__timeFilter(intended_at) ORDER BY id DESC LIMIT 100
"""
_TOLD = """
SELECT raised_at AS time, kind, title, sent_at, tries
FROM logs.alerts WHERE $__timeFilter(raised_at) ORDER BY id DESC LIMIT 100
"""

_FAILED_TASKS = 'airflow_task_finish_total{state="failed"}'


def build() -> Dashboard:
    """The dashboard."""
    empty = dashboard_frame.dashboard(
        "mycoflow-nights", "Nights", "Did the nightly checks run, and what were their results?", "now-14d"
    )
    return _airflow(_nights(_now(empty.annotation(dashboard_frame.told()))))


def _age(title: str, what: str, metric: str, red_after_seconds: float | None = None) -> stat.Panel:
    steps = thresholds((None, "green"), (red_after_seconds, "red")) if red_after_seconds else thresholds((None, "blue"))
    return number(title, what, f"time() - max({metric})", units.Seconds, steps)


def _now(dashboard: Dashboard) -> Dashboard:
    return (
        dashboard.with_panel(
            _age(
                "Last nightly check",
                "Time since the check. Above 26 hours, a night is missing.",
                "mycoflow_monitoring_timestamp_seconds",
                26 * 3600,
            )
        )
        .with_panel(
            _age("Last training", "Time since the last verdict on a training.", "mycoflow_retraining_timestamp_seconds")
        )
        .with_panel(
            number(
                "Last training took",
                "Time from its start to its verdict.",
                "max(mycoflow_retraining_duration_seconds)",
                units.Seconds,
            )
        )
        .with_panel(
            _age("Last failure", "Time since a training failed.", "mycoflow_retraining_failure_timestamp_seconds")
        )
        .with_panel(
            number(
                "Approvals waiting",
                "Challengers that passed the gate and wait for a person's answer in Airflow.",
                "max(mycoflow_approvals_waiting)",
                steps=ZERO_IS_GOOD,
            )
        )
        .with_panel(
            number(
                "Failed tasks",
                "Tasks in Airflow that failed in the last day.",
                f"sum({_in_a_day(_FAILED_TASKS)}) or vector(0)",
                steps=ZERO_IS_GOOD,
            )
        )
    )


def _nights(dashboard: Dashboard) -> Dashboard:
    return (
        dashboard.with_row(Row("Results"))
        .with_panel(rows("Nightly checks", "Newest first.", sql_table(_CHECKS), span=12))
        .with_panel(rows("Trainings", "Newest first.", sql_table(_ATTEMPTS), span=12))
        .with_panel(
            nightly_lines("Seconds to a verdict", "By verdict.", [sql_series(_DURATIONS)], units.Seconds).min(0)
        )
        .with_panel(rows("Promotions and rollbacks", "Newest first.", sql_table(_MOVES), span=12))
        .with_panel(rows("Alerts", "Newest first, and whether they were sent.", sql_table(_TOLD)))
    )


def _in_a_day(counter: str) -> str:
    """Return PromQL for a counter's growth in a day. `increase` misses the first value of a counter that is new."""
    return f"{counter} unless last_over_time({counter}[1h] offset 1d) or increase({counter}[1d])"


def _airflow(dashboard: Dashboard) -> Dashboard:
    runs = f"sum by (dag_id, state) ({_in_a_day('airflow_dag_run_duration_seconds_count')})"
    took = (
        "sum by (dag_id) (rate(airflow_dag_run_duration_seconds_sum[1d]))"
        " / sum by (dag_id) (rate(airflow_dag_run_duration_seconds_count[1d]))"
    )
    task_took = (
        "topk(10, sum by (dag_id, task_id) (rate(airflow_task_duration_seconds_sum[1d]))"
        " / sum by (dag_id, task_id) (rate(airflow_task_duration_seconds_count[1d])))"
    )
    return (
        dashboard.with_row(Row("Airflow"))
        .with_panel(
            stacked_bars("Runs in a day", "By DAG and final state.", [promql(runs, "{{dag_id}} {{state}}")], PROMETHEUS)
        )
        .with_panel(
            lines("Mean duration of a run", "Mean over a day.", [promql(took, "{{dag_id}}")], units.Seconds).min(0)
        )
        .with_panel(
            lines(
                "Mean duration of a task",
                "Mean over a day, of the ten longest tasks.",
                [promql(task_took, "{{dag_id}} {{task_id}}")],
                units.Seconds,
            ).min(0)
        )
        .with_panel(
            lines(
                "Heartbeats",
                "Heartbeats per second of each of Airflow's processes. A process without heartbeats is dead.",
                [promql("sum by (component) (rate(airflow_heartbeat_total[5m]))", "{{component}}")],
            ).min(0)
        )
    )
