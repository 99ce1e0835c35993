"""The prediction service under load: gunicorn, PostgreSQL, accounts and the model in production, none of them replaced.

Figures: `serve_` with a bearer token and `serve_basic_` with HTTP Basic, every image new by its content, so computed
and stored; `cached_` and `cached_basic_` the same for images that the service has seen.
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
from stack.ports import HOST, find_free_ports

LOGIN = "bench"
BOUNDARY = "----mycoflow-benchmarks"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
MOST_PER_SECOND = 120  # more than a model of this size reaches on any CPU of two cores
_KNOWN_IMAGES = 8


def measure_serving(deployment: Deployment, images: Iterator[bytes], plan: Plan, repeats: int) -> dict[str, float]:
    """Measure the service of a deployment, and how soon it is ready from its local copy of the model.

    Args:
        deployment: with a model in production.
        images: image files, no two alike.
        plan: how long.
        repeats: how often the start is measured.
    """
    password = secrets.token_urlsafe(16)
    deployment.run("user", "add", LOGIN, "--role", "user", said=f"{password}\n")
    figures: dict[str, float] = {}
    # Nothing is cached yet: the service has asked MLflow by the time it is ready, and imports nothing any more.
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
    """The service as its container starts it, ready to predict, for the length of the block."""
    address = f"{HOST}:{find_free_ports(1)[0]}"
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", "python:webapi.gunicorn_conf", "--bind", address]
    command = [*gunicorn, "webapi.factory:create_app()"]
    return running(command, deployment.environment, deployment.home, address, "/readyz")


def served_bundle(deployment: Deployment) -> Path:
    """The files of the model version that the service of a deployment serves, downloaded by the service."""
    cache = ServingCache(deployment.home / "serving")
    if cache.current() is None:
        with running_service(deployment):
            pass
    bundle = cache.current()
    if bundle is None:
        raise MycoflowError(f"Expected the service to keep its model in {cache.folder}, found none.")
    return bundle


def as_upload(image: bytes) -> bytes:
    """The body of a multipart form with an image in the field `file`."""
    files = {"file": ("photo.jpg", image, "image/jpeg")}
    return httpx.Request("POST", f"http://{HOST}", files=files, headers=MULTIPART).read()


def _bearer(service: Server, password: str) -> str:
    credentials = json.dumps({"login": LOGIN, "password": password}).encode()
    answer = post(Route(service.address, "/auth/login", {"Content-Type": "application/json"}), credentials)
    return f"Bearer {json.loads(answer)['token']}"


def _basic(password: str) -> str:
    return f"Basic {b64encode(f'{LOGIN}:{password}'.encode()).decode()}"


def _check_cached(route: Route, bodies: list[bytes]) -> None:
    """Let the service see some images, and make sure that it knows them then and did not before."""
    answers = [json.loads(post(route, body))["cached"] for _ in range(2) for body in bodies]
    if answers != [False] * len(bodies) + [True] * len(bodies):
        raise MycoflowError(f"Expected images to be computed once and cached then. The service said cached: {answers}.")


def _start_seconds(deployment: Deployment) -> float:
    with running_service(deployment) as service:
        return service.start_seconds
