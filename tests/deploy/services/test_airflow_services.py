"""Run Airflow's services with the compose file's commands, until a worker takes a task from Redis and finishes it."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from ml.errors import AirflowError
from ml.reporting.airflow_api import AirflowClient
from tests.deploy.services.statsd import Statsd, listening, running_exporter
from tests.monitoring.prometheus_server import Prometheus, eventually, prometheus_on

# Quick: tests/dags runs the DAGs and asks the plugin, tests/e2e/test_scheduler.py has a scheduler,
# tests/deploy/test_compose_consistency.py reads the services.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROBE = """
import os
from airflow.sdk import dag, task
from sqlalchemy import create_engine, text

@dag(schedule=None, is_paused_upon_creation=False)
def probe():
    @task
    def raise_due_alerts() -> dict[str, str]:
        with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
            user = connection.execute(text("SELECT current_user")).scalar_one()
        return {"catalog_user": user, "airflow_database": os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]}
    raise_due_alerts()

probe()
"""
QUESTION = """
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import dag, task

@dag(schedule=None, is_paused_upon_creation=False)
def question():
    @task
    def told(**context) -> dict[str, str]:
        return dict(context["ti"].xcom_pull(task_ids="approval")["params_input"])
    HITLOperator(task_id="approval", subject="May it?", options=["yes", "no"], defaults="no") >> told()

question()
"""


@pytest.fixture(scope="module")
def exporter(deployment: Any, root: Path, free_ports: Callable[[int], list[int]]) -> Iterator[tuple[bool, int]]:
    """Whether the real exporter runs, and where it takes datagrams. Prometheus reads it at port 9102's stand-in."""
    (port,) = free_ports(1)
    with running_exporter(root / "docker/statsd-mapping.yml", port, int(deployment.port("9102"))) as is_here:
        yield is_here, port


@pytest.fixture(scope="module")
def statsd(deployment: Any, exporter: tuple[bool, int]) -> Iterator[Statsd]:
    """What Airflow sends to the exporter."""
    with listening(int(deployment.port("9125")), exporter[1]) as listener:
        yield listener


@pytest.fixture(scope="module")
def prometheus(
    airflow: Any,
    exporter: tuple[bool, int],
    root: Path,
    program: Callable[[str, str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    """Prometheus with production's job `airflow`, read each second."""
    if not exporter[0]:
        pytest.skip("NOT CHECKED: no statsd_exporter; put the program of prometheus/statsd_exporter on the PATH")
    production = yaml.safe_load((root / "prometheus/prometheus.yml").read_text())
    (job,) = (job for job in production["scrape_configs"] if job["job_name"] == "airflow")
    exposed = airflow.adapt(job["static_configs"][0]["targets"][0]).rpartition(":")[2]
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus_on(program("prometheus", "prometheus"), {"airflow": int(exposed)}, folder) as running:
        assert eventually(lambda: running.values('up{job="airflow"}') == [1])
        yield running


@pytest.fixture(scope="module")
def airflow(
    deployment: Any,
    statsd: Statsd,
    program: Callable[[str, str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    program("redis-server", "redis-server")
    dags = tmp_path_factory.mktemp("dags")
    (dags / "probe.py").write_text(PROBE)
    (dags / "question.py").write_text(QUESTION)
    deployment.extra = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": deployment.port("8793"),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": deployment.port("8794"),
    }
    deployment.run("migrate")
    deployment.run("airflow-init", timeout_seconds=240)
    deployment.run("airflow-init", timeout_seconds=240)  # as `docker compose up` does each time
    with ExitStack() as running:
        names = ("redis", "airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
        for name in (*names, "airflow-worker"):
            running.enter_context(deployment.up(name, timeout_seconds=240))
        yield deployment
    deployment.extra = {}


@pytest.fixture(scope="module")
def api(airflow: Any, variables: dict[str, str]) -> Callable[..., requests.Response]:
    address = f"http://127.0.0.1:{airflow.port('8080')}"
    login = {"username": "admin", "password": variables["AIRFLOW_ADMIN_PASSWORD"]}
    token = requests.post(f"{address}/auth/token", json=login, timeout=60).json()["access_token"]

    def call(verb: str, path: str, **body: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(verb, f"{address}/api/v2/{path}", headers=headers, timeout=60, **body)

    return call


def wait_for(what: Callable[[], Any], timeout_seconds: float = 240) -> Any:
    deadline = time.monotonic() + timeout_seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(1)
    return found


def run_probe(api: Callable[..., requests.Response]) -> str:
    """Run it to its end. Returns: the run's place in the API."""
    started = api("POST", "dags/probe/dagRuns", json={"logical_date": None})
    assert started.status_code == 200, started.text
    run = f"dags/probe/dagRuns/{started.json()['dag_run_id']}"
    state = wait_for(lambda: (s := api("GET", run).json()["state"]) in ("success", "failed") and s)
    assert state == "success", api("GET", f"{run}/taskInstances").text
    return run


def test_only_who_logs_in_gets_an_answer(airflow: Any, api: Callable[..., requests.Response]) -> None:
    address = f"http://127.0.0.1:{airflow.port('8080')}"
    assert requests.get(f"{address}/api/v2/dags", timeout=60).status_code == 401
    refused = requests.post(f"{address}/auth/token", json={"username": "admin", "password": "admin"}, timeout=60)
    assert refused.status_code == 401
    assert api("GET", "dags").status_code == 200


def test_the_prediction_service_starts_runs_and_sees_no_connection(
    airflow: Any, api: Callable[..., requests.Response], variables: dict[str, str]
) -> None:
    wait_for(lambda: api("GET", "dags/probe").status_code == 200)
    address = f"http://127.0.0.1:{airflow.port('8080')}"
    login = {"username": "web", "password": variables["AIRFLOW_WEB_PASSWORD"]}
    client = AirflowClient(address, **login)
    started = client.trigger("probe", {"layers": 3})
    assert (started.dag_id, started.state) == ("probe", "queued")
    assert api("GET", f"dags/probe/dagRuns/{started.dag_run_id}").json()["conf"] == {"layers": 3}
    with pytest.raises(AirflowError, match=r"404: .*not found"):
        client.trigger("missing", {})
    with pytest.raises(AirflowError, match="401: "):
        AirflowClient(address, "web", "wrong").trigger("probe", {})
    token = requests.post(f"{address}/auth/token", json=login, timeout=60).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    for path in (
        "connections",
        "variables",
        "pools",
        f"dags/probe/dagRuns/{started.dag_run_id}/taskInstances/x/logs/1",
    ):
        assert requests.get(f"{address}/api/v2/{path}", headers=headers, timeout=60).status_code == 403


def test_the_prediction_service_follows_its_runs_and_answers_what_waits(
    airflow: Any, api: Callable[..., requests.Response], variables: dict[str, str]
) -> None:
    address = f"http://127.0.0.1:{airflow.port('8080')}"
    client = AirflowClient(address, "web", variables["AIRFLOW_WEB_PASSWORD"], seconds_per_answer=60)
    run = client.trigger("question", {})
    (waiting,) = wait_for(lambda: [each for each in client.waiting_approvals() if each.run_id == run.dag_run_id])
    assert (waiting.options, waiting.subject) == (["yes", "no"], "May it?")
    assert run.dag_run_id in [each.dag_run_id for each in client.recent_runs("question", 3)]
    time.sleep(3)  # Airflow 3.3.2 takes an answer in the very second of the question for a failure
    client.answer(waiting, "yes", "account:7")
    wait_for(lambda: (found := client.find_run("question", run.dag_run_id)) and found.is_finished)
    assert {task.task_id: task.state for task in client.task_states(run)} == {"approval": "success", "told": "success"}
    told = api("GET", f"dags/question/dagRuns/{run.dag_run_id}/taskInstances/told/xcomEntries/return_value").json()
    assert told["value"] == {"answered_by": "account:7"}
    assert client.find_run("question", "unknown") is None


def test_who_may_see_runs_sees_how_the_model_is(airflow: Any, variables: dict[str, str]) -> None:
    address = f"http://127.0.0.1:{airflow.port('8080')}"
    assert requests.get(f"{address}/mycoflow/health", timeout=60).status_code == 401
    pages = {}
    for login, secret in (("admin", "AIRFLOW_ADMIN_PASSWORD"), ("web", "AIRFLOW_WEB_PASSWORD")):
        known = {"username": login, "password": variables[secret]}
        token = requests.post(f"{address}/auth/token", json=known, timeout=60).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        pages[login] = requests.get(f"{address}/mycoflow/health", headers=headers, timeout=60)
    for page in pages.values():
        assert page.status_code == 200, page.text
        assert "No model is in production" in page.text


def test_every_job_reports_healthy(api: Callable[..., requests.Response]) -> None:
    health = api("GET", "monitor/health").json()
    assert {name: part["status"] for name, part in health.items()} == {
        "metadatabase": "healthy",
        "scheduler": "healthy",
        "triggerer": "healthy",
        "dag_processor": "healthy",
    }


def test_a_worker_runs_a_task_without_the_password_of_the_metadata_database(
    api: Callable[..., requests.Response],
) -> None:
    wait_for(lambda: api("GET", "dags/probe").status_code == 200)
    run = run_probe(api)
    seen = api("GET", f"{run}/taskInstances/raise_due_alerts/xcomEntries/return_value").json()["value"]
    # Airflow gives every task this address in the place of its database's.
    assert seen == {"catalog_user": "training", "airflow_database": "airflow-db-not-allowed:///"}
    log = api("GET", f"{run}/taskInstances/raise_due_alerts/logs/1")
    assert log.status_code == 200


def test_what_airflow_reports_is_what_the_exporter_turns_into_labels(
    airflow: Any, api: Callable[..., requests.Response], statsd: Statsd, root: Path
) -> None:
    wait_for(lambda: api("GET", "dags/probe").status_code == 200)
    run_probe(api)
    mappings = yaml.safe_load((root / "docker/statsd-mapping.yml").read_text())["mappings"]
    unused = [mapping["match"] for mapping in mappings if not any(is_match(mapping, name) for name in statsd.names)]
    assert unused == []


def test_the_panels_of_the_nights_find_what_airflow_reports(
    api: Callable[..., requests.Response], prometheus: Prometheus, root: Path
) -> None:
    wait_for(lambda: api("GET", "dags/probe").status_code == 200)
    run_probe(api)
    ends = 'sum(airflow_dag_run_duration_seconds_count{dag_id="probe",state="success"})'
    assert eventually(lambda: prometheus.values(ends) != [])
    (before,) = prometheus.values(ends)
    run_probe(api)  # a rate needs a series that was there before it grew
    assert eventually(lambda: prometheus.values(ends) == [before + 1])
    nights = json.loads((root / "grafana/dashboards/mycoflow-nights.json").read_text())
    asked = [target["expr"] for panel in nights["panels"] for target in panel.get("targets", []) if "expr" in target]
    of_airflow = [expression for expression in asked if "airflow_" in expression]
    assert len(of_airflow) >= 5
    for expression in of_airflow:
        assert any(map(isfinite, prometheus.values(expression))), expression


def is_match(mapping: dict[str, str], name: str) -> bool:
    """As statsd_exporter matches: `*` is a whole part of a name between dots, nothing less."""
    if mapping.get("match_type") == "regex":
        return re.search(mapping["match"], name) is not None
    return re.fullmatch(mapping["match"].replace(".", r"\.").replace("*", "[^.]+"), name) is not None


def test_redis_refuses_whoever_has_no_password(airflow: Any) -> None:
    import redis

    stranger = redis.Redis(port=int(airflow.port("6379")))
    with pytest.raises(redis.exceptions.AuthenticationError):
        stranger.ping()
