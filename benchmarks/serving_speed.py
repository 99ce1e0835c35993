"""The prediction service under load, complete: gunicorn, PostgreSQL, accounts and the model in production.

Figures: `serve_` with a bearer token and `serve_basic_` with HTTP Basic. Each image has new content, so the service
computes and stores it. `cached_` and `cached_basic_` are the same with images that the service knows already.
"""

import json
import secrets
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from statistics import median

import httpx

from benchmarks.client import Plan, Route, measure_fresh, measure_repeated, post
from benchmarks.deployment import Deployment
from benchmarks.servers import Server, running
from ml.errors import MycoflowError
from ml.serving.serving_cache import ServingCache
from ml.settings import variable
from stack.ports import HOST, find_free_ports

LOGIN = "bench"
BOUNDARY = "----mycoflow-benchmarks"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
MOST_PER_SECOND = 120  # more than a model of this size reaches on two cores of any CPU
_KNOWN_IMAGES = 8


def measure_serving(deployment: Deployment, images: Iterator[bytes], plan: Plan, repeats: int) -> dict[str, float]:
    """Measure the service of a deployment, and its time to start with a local copy of the model.

    Args:
        deployment: a deployment with a model in production.
        images: image files, all different.
        plan: the plan of the load test.
        repeats: how often the start is measured.
    """
    password = secrets.token_urlsafe(16)
    deployment.run("user", "add", LOGIN, "--role", "user", said=f"{password}\n")
    figures: dict[str, float] = {}
    # Nothing is cached yet. When the service is ready, it has already read MLflow and imported everything.
    with running_service(deployment) as service:
        for suffix, credentials in (("", _bearer(service, password)), ("_basic", _basic(password))):
            route = Route(service.address, "/predictions", MULTIPART | {"Authorization": credentials})
            bodies = map(as_upload, images)
            known = list(islice(bodies, _KNOWN_IMAGES))
            _check_cached(route, known)
            figures |= measure_fresh(f"serve{suffix}", route, bodies, plan, MOST_PER_SECOND)
            figures |= measure_repeated(f"cached{suffix}", route, known, plan)
        figures["serve_rss_mb"] = service.rss_mb()
    figures["serve_start_seconds"] = median(_start_seconds(deployment) for _ in range(repeats))
    return figures


def running_service(deployment: Deployment) -> AbstractContextManager[Server]:
    """Run the service with its container's command during the block, ready for predictions."""
    address = f"{HOST}:{find_free_ports(1)[0]}"
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:webapi.gunicorn_conf", "--bind", address]
    command = [*gunicorn, "webapi.factory:create_app()"]
    # All clients here, eight at most, are one account, which may hold a third of the places.
    environment = {**deployment.environment, variable("model_queue_size"): "24"}
    return running(command, environment, deployment.home, address, "/readyz")


def served_bundle(deployment: Deployment) -> Path:
    """Return the folder of the model version that the service has downloaded and serves."""
    cache = ServingCache(deployment.home / "serving")
    if cache.current() is None:
        with running_service(deployment):
            pass
    bundle = cache.current()
    if bundle is None:
        raise MycoflowError(f"Expected the service to keep its model in {cache.folder}, found none.")
    return bundle


def as_upload(image: bytes) -> bytes:
    """Return the body of a multipart form with an image in the field `file`."""
    files = {"file": ("photo.jpg", image, "image/jpeg")}
    return httpx.Request("POST", f"http://{HOST}", files=files, headers=MULTIPART).read()


def _bearer(service: Server, password: str) -> str:
    credentials = json.dumps({"login": LOGIN, "password": password}).encode()
    answer = post(Route(service.address, "/auth/login", {"Content-Type": "application/json"}), credentials)
    return f"Bearer {json.loads(answer)['token']}"


def _basic(password: str) -> str:
    return f"Basic {b64encode(f'{LOGIN}:{password}'.encode()).decode()}"


def _check_cached(route: Route, bodies: list[bytes]) -> None:
    """Send some images to the service twice, and check that only the second answers come from its cache."""
    answers = [json.loads(post(route, body))["cached"] for _ in range(2) for body in bodies]
    if answers != [False] * len(bodies) + [True] * len(bodies):
        raise MycoflowError(f"Expected images to be computed once and cached then. Received `cached`: {answers}.")


def _start_seconds(deployment: Deployment) -> float:
    with running_service(deployment) as service:
        return service.start_seconds
