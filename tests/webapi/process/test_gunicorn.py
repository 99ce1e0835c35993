"""How the service starts, follows the model in production, and ends."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from ml.registry.mlflow_registry import Registry
from ml.settings import Settings

ROOT = Path(__file__).parents[3]
START_SECONDS = 120.0
Start = Callable[..., Any]  # gives a RunningService of conftest.py


def critical_line(service: Any) -> str:
    entries = [json.loads(line) for line in service.log.read_text().splitlines()]
    (message,) = [entry["message"] for entry in entries if entry["level"] == "critical"]
    return str(message)


def test_a_new_champion_takes_over_under_load_without_a_failed_request(
    start: Start, registry: Registry, tracking_uri: str, png: Callable[[int], bytes]
) -> None:
    service = start(MLFLOW_TRACKING_URI=tracking_uri)
    service.wait_for(lambda: service.get("/readyz").status_code == 200)
    answers: list[tuple[int, int | None]] = []
    is_over = threading.Event()

    def keep_posting(client: int) -> None:
        seed = client * 100_000
        while not is_over.is_set():
            seed += 1
            answer = service.predict(png(seed))
            version = answer.json()["model"]["version"] if answer.status_code == 200 else None
            answers.append((answer.status_code, version))

    clients = [threading.Thread(target=keep_posting, args=(client,)) for client in range(4)]
    for client in clients:
        client.start()
    try:
        service.wait_for(lambda: len(answers) >= 20)
        registry.set_champion(2)
        service.wait_for(lambda: (200, 2) in answers)
        swapped_at = len(answers)
        service.wait_for(lambda: len(answers) >= swapped_at + 20)
    finally:
        is_over.set()
        for client in clients:
            client.join()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {1, 2}
    assert {version for _, version in answers[-4:]} == {2}
    labels = 'backbone="vgg16",backbone_weights="random:0",image_size="32",precision="fp32",version="2"'
    assert f"mycoflow_model_info{{{labels}}} 1.0" in httpx.get(service.metrics_address).text
    assert service.end(signal.SIGINT) == 0
    assert not service.has_processes()

    again = start()  # MLflow is gone, the machine remembers
    again.wait_for(lambda: again.get("/readyz").status_code == 200)
    assert again.predict(png(100_001)).json()["model"]["version"] == 2
    assert again.end() == 0
    assert not again.has_processes()


@pytest.mark.usefixtures("cached_model")
def test_a_request_under_way_is_answered_before_the_end(start: Start, png: Callable[[int], bytes]) -> None:
    service = start()
    service.wait_for(lambda: service.get("/readyz").status_code == 200)
    request = httpx.Request("POST", f"{service.address}/predictions", files={"file": png(1)})
    body = request.read()
    connection = HTTPConnection(request.url.host, request.url.port)
    connection.putrequest("POST", "/predictions")
    for name in ("Content-Type", "Content-Length"):
        connection.putheader(name, request.headers[name])
    connection.putheader("Authorization", service.headers["Authorization"])
    connection.endheaders(body[:1000])
    service.wait_for(lambda: service.has_taken(connection.sock.getsockname()[1]))
    service.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    connection.send(body[1000:])
    assert connection.getresponse().status == 200
    connection.close()
    assert service.process.wait(timeout=START_SECONDS) == 0
    assert not service.has_processes()


def test_an_idle_client_does_not_delay_the_end(start: Start) -> None:
    service = start()
    service.wait_for(lambda: service.get("/status").status_code == 200)
    with httpx.Client() as idle:  # keeps its connection open
        idle.get(f"{service.address}/status")
        began = time.monotonic()
        assert service.end() == 0
        assert time.monotonic() - began < 25  # not the 30 seconds that gunicorn gives those who are not through


@pytest.mark.usefixtures("cached_model")
def test_every_log_line_is_json_with_the_request_id_and_without_the_query(
    start: Start, free_port: Callable[[], int]
) -> None:
    service = start(DATABASE_URL=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    service.wait_for(lambda: service.get("/status").json() is True)
    assert service.get("/dbconnex").json() is False
    httpx.get(f"{service.address}/status?password=hunter2", headers={"X-Request-ID": "mine"})
    service.end()
    assert "hunter2" not in service.log.read_text()
    entries = [json.loads(line) for line in service.log.read_text().splitlines()]
    (mine,) = [entry for entry in entries if entry.get("request_id") == "mine"]
    assert (mine["method"], mine["path"], mine["status"]) == ("GET", "/status", 422)  # no such parameter


@pytest.mark.parametrize("name", ["MYCOFLOW_METRICS_PORT", "MYCOFLOW_ALIAS_POLL_SECONDS", "DATABASE_URL"])
def test_a_wrong_setting_ends_the_start_with_one_line_that_names_it(name: str, start: Start) -> None:
    service = start(**{name: "nonsense"})
    assert service.process.wait(timeout=START_SECONDS) != 0
    assert name in critical_line(service)


def test_a_metrics_port_in_use_ends_the_start_with_one_line(start: Start, tmp_path: Path) -> None:
    first = start()
    first.wait_for(lambda: first.get("/status").status_code == 200)
    port = httpx.URL(first.metrics_address).port
    second = start(MYCOFLOW_METRICS_PORT=str(port))
    assert second.process.wait(timeout=START_SECONDS) != 0
    assert f"MYCOFLOW_METRICS_PORT: expected a free port on 127.0.0.1, got {port}" in critical_line(second)
    assert not second.has_processes()
    first.end()


def test_an_unmigrated_database_ends_the_start_with_one_line(start: Start, new_database: Callable[[], str]) -> None:
    service = start(DATABASE_URL=new_database())
    assert service.process.wait(timeout=START_SECONDS) != 0
    assert "mycoflow migrate" in critical_line(service)


IMPORTED = """
import io, json, os, sys
from webapi import application_state
from webapi.factory import create_app

app = create_app()
running = application_state.current(app)
running.models.load_cached()
photo = (io.BytesIO(sys.stdin.buffer.read()), "photo.png")
headers = json.loads(os.environ["CREDENTIALS"])
answer = app.test_client().post("/predictions", data={"file": photo}, headers=headers)
before_poll = sorted(sys.modules)
running.models.poll()
print(json.dumps({"status": answer.status_code, "version": running.models.current.bundle.name,
                  "before_poll": before_poll, "after_poll": sorted(sys.modules)}))
running.stop()
"""


@pytest.mark.usefixtures("cached_model", "registry")
def test_the_service_imports_no_tensorflow_and_no_mlflow_before_it_looks_at_the_alias(
    settings: Settings, credentials: dict[str, str], tracking_uri: str, png: Callable[[int], bytes]
) -> None:
    assert settings.database_url is not None
    environment = {
        "MYCOFLOW_HOME": str(settings.mycoflow_home),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": tracking_uri,
        "CREDENTIALS": json.dumps(credentials),
    }
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], input=png(1), cwd=ROOT, env=environment, capture_output=True, check=True
    )
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["status"] == 200
    assert seen["version"] != "1-run"  # the registry was really asked
    assert "onnxruntime" in seen["before_poll"]
    assert "mlflow" not in seen["before_poll"]
    assert "mlflow" in seen["after_poll"]
    assert not {"tensorflow", "keras", "torch", "airflow", "onnx", "matplotlib"} & set(seen["after_poll"])
