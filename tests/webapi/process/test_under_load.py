"""What happens to requests while the model changes under them, and while the service is told to end.

test_outage.py has PostgreSQL killed under load, test_admission.py more requests than the service can answer.
"""

import itertools
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa

from ml.backbones.preprocessing import to_pixels
from ml.catalog.database import Catalog
from ml.catalog.tables import predictions
from ml.registry.mlflow_registry import Registry
from ml.tasks.classification.classifier import Classifier

CLIENTS = 4
SWAPS = 100
Ask = Callable[[int], httpx.Response]
Start = Callable[..., Any]  # gives a RunningService of conftest.py


class Load:
    """Clients that never stop asking while the block goes on, and what they were told."""

    def __init__(self, ask: Ask) -> None:
        self.answers: list[tuple[float, int, httpx.Response]] = []
        self._ask = ask
        self._is_over = threading.Event()
        self._clients = [threading.Thread(target=self._keep_asking, args=(client,)) for client in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for client in self._clients:
            client.join()

    def _keep_asking(self, client: int) -> None:
        for number in itertools.count(client, CLIENTS):
            if self._is_over.is_set():
                return
            answer = self._ask(number)
            self.answers.append((time.monotonic(), number, answer))


# Quick: test_admission.py swaps models under load in one process, test_gunicorn.py one champion in the real service.
@pytest.mark.slow
def test_a_hundred_champions_take_over_under_load_and_each_answer_is_the_named_version_s(
    start: Start, registry: Registry, tracking_uri: str, png: Callable[[int], bytes], tmp_path: Path
) -> None:
    registry.set_champion(1)
    service = start(MLFLOW_TRACKING_URI=tracking_uri, MYCOFLOW_ALIAS_POLL_SECONDS="0.05")
    service.wait_for(lambda: service.get("/readyz").status_code == 200)
    with Load(lambda number: service.predict(png(number // 3), nb_preds=4)) as load:  # each image again by and by
        for swap in range(SWAPS):
            version = (swap + 1) % 3 + 1
            registry.set_champion(version)
            service.wait_for(lambda: service.get("/readyz").json()["model_version"] == version)  # noqa: B023
    assert {answer.status_code for *_, answer in load.answers} == {200}
    assert {answer.json()["model"]["version"] for *_, answer in load.answers} == {1, 2, 3}
    assert service.log.read_text().count("answers from now on") == 1 + SWAPS
    assert service.end() == 0
    classifiers = {version: Classifier.load(registry.download(version, tmp_path / "bundles")) for version in (1, 2, 3)}
    for _, number, answer in load.answers:
        classifier = classifiers[answer.json()["model"]["version"]]
        pixels = to_pixels(png(number // 3), classifier.card.image_size)[np.newaxis]
        expected = dict(zip(classifier.card.classes, 100 * classifier.predict(pixels).probabilities[0], strict=True))
        got = {result["name"]: result["proba"] for result in answer.json()["results"]}
        assert got == pytest.approx(expected, abs=0.02)


@pytest.mark.usefixtures("cached_model")
def test_what_is_under_way_when_the_service_is_told_to_end_is_answered(
    start: Start, catalog: Catalog, png: Callable[[int], bytes]
) -> None:
    service = start()
    service.wait_for(lambda: service.get("/readyz").status_code == 200)
    with ThreadPoolExecutor(CLIENTS) as clients:
        with catalog.begin() as connection:
            connection.execute(sa.text(f"LOCK TABLE {predictions.fullname} IN EXCLUSIVE MODE"))
            asked = [clients.submit(service.predict, png(number)) for number in range(CLIENTS)]
            service.wait_for(lambda: connection.scalar(WAITING, {"table": predictions.fullname}) == CLIENTS)
            service.process.send_signal(signal.SIGTERM)
            service.wait_for(lambda: "Handling signal: term" in service.log.read_text())
        answers = [each.result() for each in asked]
    assert [answer.status_code for answer in answers] == [200] * CLIENTS
    assert service.process.wait(timeout=60) == 0
    with catalog.begin() as connection:
        stored = set(connection.execute(sa.select(predictions.c.id)).scalars())
    assert {answer.json()["id"] for answer in answers} == stored
    assert not service.has_processes()


WAITING = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = to_regclass(:table)")
