"""The PromQL of every panel returns data from a real Prometheus that scrapes the service and Airflow's metrics."""

import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, Summary, start_http_server

from ml.serving.answering import Stage
from ml.serving.loaded_model import LoadedModel
from ml.settings import Settings
from ml.tasks.classification.classification_task import TASK
from tests.application import application_as_web
from tests.monitoring.prometheus_server import Prometheus, eventually, prometheus_on
from webapi import application_state
from webapi.telemetry.metrics import Metrics

ROOT = Path(__file__).resolve().parents[3]
VARIABLES = {"$__rate_interval": "6s"}
SCRAPES = 4


@pytest.fixture(scope="module")
def service_port(
    filled_settings: Settings, write_bundle: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The service's /metrics, on a filled database, with the rights of the role web, while it gets requests."""
    with application_as_web(filled_settings) as app:
        service, client = application_state.current(app), app.test_client()
        metrics = service.metrics
        service.models.serve(LoadedModel.load(write_bundle(tmp_path_factory.mktemp("model") / "1-run", 1), TASK))

        def use_it() -> None:
            client.get("/status")
            client.get("/nowhere")
            predict(metrics)

        with repeatedly(use_it):
            yield metrics.serve("127.0.0.1", 0)


def predict(metrics: Metrics) -> None:
    """Record the metrics of a computed, a cached and a refused prediction, and of a feedback."""
    for stage in get_args(Stage):
        metrics.predictions.observe_stage(stage, 0.01)
    metrics.predictions.count_answer("a", 0.9, is_cached=False)
    metrics.predictions.count_answer("b", 0.6, is_cached=True)
    metrics.predictions.count_refusal("busy")
    metrics.predictions.count_feedback("ok")


@pytest.fixture(scope="module")
def airflow_port() -> Iterator[int]:
    """Airflow's metrics as statsd-exporter exports them, with the names of docker/statsd-mapping.yml."""
    registry = CollectorRegistry()
    runs = Summary("airflow_dag_run_duration_seconds", "-", ["dag_id", "state"], registry=registry)
    tasks = Summary("airflow_task_duration_seconds", "-", ["dag_id", "task_id"], registry=registry)
    ends = Counter("airflow_task_finish_total", "-", ["dag_id", "task_id", "state"], registry=registry)
    beats = Counter("airflow_heartbeat_total", "-", ["component"], registry=registry)

    def run() -> None:
        runs.labels("retrain", "success").observe(60)
        tasks.labels("retrain", "train").observe(30)
        ends.labels("retrain", "train", "failed").inc()
        beats.labels("scheduler").inc()

    server, _ = start_http_server(0, "127.0.0.1", registry)
    with repeatedly(run):
        yield server.server_port
    server.shutdown()
    server.server_close()


@contextmanager
def repeatedly(action: Callable[[], None]) -> Iterator[None]:
    """Repeat an action in a thread until the block ends."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.2):
            action()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture(scope="module")
def prometheus(
    service_port: int,
    airflow_port: int,
    program: Callable[[str, str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    """A Prometheus that has scraped both several times."""
    jobs = {"webapi": service_port, "airflow": airflow_port}
    with prometheus_on(program("prometheus", "prometheus"), jobs, tmp_path_factory.mktemp("prometheus")) as running:
        assert eventually(lambda: len(running.values(f"count_over_time(up[1m]) >= {SCRAPES} and up == 1")) == len(jobs))
        yield running


def ask(prometheus: Prometheus, expression: str, is_instant: bool) -> list[dict[str, Any]]:
    """Return the series that a panel gets."""
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    now = time.time()
    if is_instant:
        answer = prometheus.get("query", query=expression, time=now)
    else:
        answer = prometheus.get("query_range", query=expression, start=now - 10, end=now, step=1)
    return list(answer["result"])


def promql_of(dashboards: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The PromQL queries, by dashboard and panel."""
    return {
        f"{dashboard['title']}: {panel['title']} {target['refId']}": target
        for dashboard in dashboards
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        if "expr" in target
    }


def has_figures(series: list[dict[str, Any]]) -> bool:
    points = [point for each in series for point in each.get("values", [each.get("value")])]
    return any(math.isfinite(float(value)) for _, value in points)


def test_every_promql_query_finds_data(dashboards: list[dict[str, Any]], prometheus: Prometheus) -> None:
    queries = promql_of(dashboards)
    assert len(queries) >= 40
    silent = [
        f"{name}: {target['expr']}"
        for name, target in queries.items()
        if not has_figures(ask(prometheus, target["expr"], target["instant"]))
    ]
    assert silent == []


def test_every_label_of_a_legend_exists(dashboards: list[dict[str, Any]], prometheus: Prometheus) -> None:
    for name, target in promql_of(dashboards).items():
        labels = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
        for series in ask(prometheus, target["expr"], True) if labels else []:
            assert labels <= set(series["metric"]), name


def test_queries_use_the_exporters_names_of_airflows_metrics(dashboards: list[dict[str, Any]]) -> None:
    mappings = yaml.safe_load((ROOT / "docker/statsd-mapping.yml").read_text())["mappings"]
    named = {mapping["name"] for mapping in mappings}
    asked = {
        re.sub("_(sum|count)$", "", name)
        for target in promql_of(dashboards).values()
        for name in re.findall(r"\bairflow_\w+", target["expr"])
    }
    assert asked
    assert asked <= named
