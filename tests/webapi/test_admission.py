"""More requests than the service can answer, and a model that changes under them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.backbones.cpus import usable_cpus
from ml.backbones.preprocessing import to_pixels
from ml.deadlines import Deadline
from ml.serving.model_host import ModelHost
from ml.serving.serving_cache import ServingCache
from ml.settings import Settings
from ml.tasks.classification.classification_task import TASK
from ml.tasks.classification.classifier import Classifier
from webapi import application_state

PLACES = 2
Post = Callable[..., Any]  # JSON bodies have no types
Png = Callable[[int], bytes]


@pytest.fixture
def request_seconds() -> float:
    """More than a busy machine takes for any of these requests."""
    return 120


@pytest.fixture
def settings(settings: Settings, request_seconds: float) -> Settings:
    update = {
        "model_queue_size": PLACES,
        "request_seconds": request_seconds,
        "harvest_confidence": 1.0,
        "rate_limit": "9999 per minute",
    }
    return settings.model_copy(update=update)


@pytest.fixture
def slow_down(monkeypatch: pytest.MonkeyPatch) -> Callable[[], threading.Event]:
    """Makes the model wait for an event."""

    def slow_down() -> threading.Event:
        event, predict = threading.Event(), Classifier.predict
        monkeypatch.setattr(Classifier, "predict", lambda self, pixels: event.wait(120) and predict(self, pixels))
        return event

    return slow_down


def test_past_the_queue_requests_are_told_at_once_to_come_back(
    post: Post,
    user: FlaskClient,
    serve_version: Callable[[int], None],
    png: Png,
    slow_down: Callable[[], threading.Event],
    scrape: Callable[[], dict[str, float]],
) -> None:
    serve_version(1)
    post(png(0))
    event = slow_down()
    with ThreadPoolExecutor(PLACES) as threads:
        waiting = [threads.submit(post, png(seed)) for seed in range(1, PLACES + 1)]
        while scrape()["mycoflow_predictions_in_progress"] < PLACES:
            time.sleep(0.02)
        refused = [post(png(seed)) for seed in range(10, 15)]
        known = post(png(0))
        alive = user.get("/status")
        assert not any(request.done() for request in waiting)
        event.set()
        answers = [request.result().status_code for request in waiting]
    assert [(answer.status_code, answer.json["type"].rpartition(":")[2]) for answer in refused] == [(503, "busy")] * 5
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    assert (known.status_code, known.json["cached"], alive.status_code) == (200, True, 200)
    assert answers == [200] * PLACES
    assert post(png(11)).status_code == 200


@pytest.mark.parametrize("request_seconds", [2.0])
def test_who_waits_longer_than_a_request_may_take_is_told_to_come_back(
    app: Flask, post: Post, serve_version: Callable[[int], None], png: Png
) -> None:
    serve_version(1)
    with ExitStack() as others:
        for _ in range(usable_cpus()):
            others.enter_context(application_state.current(app).admission.computing.enter(Deadline(1)))
        began = time.monotonic()
        answer = post(png(2))
        seconds = time.monotonic() - began
    assert (answer.status_code, answer.json["type"].rpartition(":")[2]) == (503, "busy")
    assert 1.5 < seconds < 60


class Registry:
    """Stands for MLflow: its champion changes whenever it is asked."""

    def __init__(self, write_bundle: Callable[[Path, int], Path]) -> None:
        self.version = 0
        self.classifiers: dict[int, Classifier] = {}
        self._write_bundle = write_bundle

    def champion(self) -> int:
        self.version += 1
        return self.version

    def download(self, version: int, folder: Path) -> Path:
        bundle = self._write_bundle(folder / f"{version}-run", version)
        self.classifiers[version] = Classifier.load(bundle)
        return bundle

    def demand_run(self, version: int, mlflow_run_id: str) -> None:
        """Accept any run."""


def test_a_hundred_swaps_under_load_fail_no_request(
    app: Flask, post: Post, png: Png, write_bundle: Callable[[Path, int], Path], tmp_path: Path
) -> None:
    registry = Registry(write_bundle)
    current = application_state.current(app)
    models = ModelHost(
        ServingCache(tmp_path / "serving"), lambda: registry, 60, current.record.write, TASK, lambda _: None
    )
    app.extensions["mycoflow"] = type(current)(**vars(current) | {"models": models})
    (tmp_path / "serving").mkdir()
    models.poll()
    answers: list[tuple[int, Any]] = []
    is_over = threading.Event()

    def keep_posting(client: int) -> None:
        seed = client
        while not is_over.is_set():
            seed = (seed + PLACES) % 60  # new images, and known ones for which another version answers
            answers.append((seed, post(png(seed), nb_preds="4")))

    clients = [threading.Thread(target=keep_posting, args=(client,)) for client in range(PLACES)]
    for client in clients:
        client.start()
    for _ in range(100):
        models.poll()
        time.sleep(0.02)
    is_over.set()
    for client in clients:
        client.join()
    assert registry.version == 101
    assert {answer.status_code for _, answer in answers} == {200}
    assert len({answer.json["model"]["version"] for _, answer in answers}) > 50
    for seed, answer in answers:
        classifier = registry.classifiers[answer.json["model"]["version"]]
        pixels = to_pixels(png(seed), classifier.card.image_size)[np.newaxis]
        expected = dict(zip(classifier.card.classes, 100 * classifier.predict(pixels).probabilities[0], strict=True))
        got = {result["name"]: result["proba"] for result in answer.json["results"]}
        assert got == pytest.approx(expected, abs=0.02)
