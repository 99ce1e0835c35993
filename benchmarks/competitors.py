"""The speed of other servers that a user could choose, with the same clients and the same photos.

`mlflow_keras_`: `mlflow models serve` with the Keras flavour of the same network. `mlflow_mycoflow_`: the same command
with our own model version. `litserve_`: LitServe with the same ONNX file. None of them checks a password or stores
anything. MLflow accepts no image files, so its clients send pixels as JSON, decoded and resized before the measurement.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks.apart import apart
from benchmarks.client import Plan, Route, measure_fresh, post
from benchmarks.deployment import Deployment
from benchmarks.keras_copy import save_keras_copy
from benchmarks.servers import running
from benchmarks.serving_speed import MOST_PER_SECOND, MULTIPART, as_upload, served_bundle
from ml.backbones.preprocessing import to_pixels
from ml.catalog.embedded import embedded_url
from ml.errors import MycoflowError
from ml.tasks.classification.classifier import Classifier
from stack.ports import HOST, find_free_ports

_MODEL_URI = "models:/mycoflow@production"
_JSON = {"Content-Type": "application/json"}
_MLFLOW_MOST_PER_SECOND = 20
_WARM_UP_IMAGES = 8
_TOLERANCE = 0.02  # percentage points: both round to two decimals


@dataclass(frozen=True)
class Competitor:
    """A server to compare with.

    Args:
        name: prefix of its figures' names.
        command: the command that starts it.
        health: path that answers 200 when the server is ready.
        route: the route for predictions.
        encode: image file -> request body.
        read: answer -> (best class, percent); None if the server runs another network.
        most_per_second: number of bodies prepared for each second.
    """

    name: str
    command: list[str]
    health: str
    route: Route
    encode: Callable[[bytes], bytes]
    read: Callable[[bytes], tuple[str, float]] | None
    most_per_second: int


def measure_competitors(deployment: Deployment, images: Iterator[bytes], plan: Plan) -> dict[str, float]:
    """Measure all competitors, one after the other.

    Args:
        deployment: a deployment with a model in production.
        images: image files, all different.
        plan: the plan of the load test.
    Raises: MycoflowError, a server does not start, or gives wrong answers.
    """
    bundle = served_bundle(deployment)
    classifier = Classifier.load(bundle)
    tracking_uri = embedded_url(deployment.home, "mlflow")
    keras_copy = deployment.home / "keras-copy"
    apart(save_keras_copy, tracking_uri, _MODEL_URI, keras_copy)
    environment = {**deployment.environment, "MLFLOW_TRACKING_URI": tracking_uri}
    figures: dict[str, float] = {}
    for competitor in (
        _mlflow("mlflow_keras", str(keras_copy), classifier, None),
        _mlflow("mlflow_mycoflow", _MODEL_URI, classifier, partial(_read_mlflow, classifier.card.classes)),
        _litserve(bundle),
    ):
        figures |= _measure(competitor, classifier, images, plan, environment, deployment.home)
    return figures


def _measure(
    competitor: Competitor,
    classifier: Classifier,
    images: Iterator[bytes],
    plan: Plan,
    environment: Mapping[str, str],
    folder: Path,
) -> dict[str, float]:
    name, route = competitor.name, competitor.route
    with running(competitor.command, environment, folder, route.address, competitor.health) as server:
        for image in islice(images, _WARM_UP_IMAGES):
            answer = post(route, competitor.encode(image))
            if competitor.read is not None:
                _check(name, competitor.read(answer), _expected(classifier, image))
        figures = measure_fresh(name, route, map(competitor.encode, images), plan, competitor.most_per_second)
        return figures | {f"{name}_rss_mb": server.rss_mb(), f"{name}_start_seconds": server.start_seconds}


def _mlflow(
    name: str, model: str, classifier: Classifier, read: Callable[[bytes], tuple[str, float]] | None
) -> Competitor:
    port = str(find_free_ports(1)[0])
    serve = ["models", "serve", "--model-uri", model, "--host", HOST, "--port", port, "--env-manager", "local"]
    command = [sys.executable, "-m", "mlflow", *serve]
    route = Route(f"{HOST}:{port}", "/invocations", _JSON)
    encode = partial(_as_json, classifier.card.image_size)
    return Competitor(name, command, "/ping", route, encode, read, _MLFLOW_MOST_PER_SECOND)


def _litserve(bundle: Path) -> Competitor:
    port = str(find_free_ports(1)[0])
    command = [sys.executable, "-m", "benchmarks.litserve_server", str(bundle), port]
    route = Route(f"{HOST}:{port}", "/predict", MULTIPART)
    return Competitor("litserve", command, "/health", route, as_upload, _read_names, MOST_PER_SECOND)


def _as_json(image_size: int, image: bytes) -> bytes:
    pixels = to_pixels(image, image_size)
    return json.dumps({"inputs": pixels[None].tolist()}, separators=(",", ":")).encode()


def _read_names(answer: bytes) -> tuple[str, float]:
    (best,) = json.loads(answer)["results"]
    return best["name"], best["proba"]


def _read_mlflow(classes: tuple[str, ...], answer: bytes) -> tuple[str, float]:
    (probabilities,) = json.loads(answer)["predictions"]["probabilities"]
    best = max(probabilities)
    return classes[probabilities.index(best)], 100 * best


def _expected(classifier: Classifier, image: bytes) -> tuple[str, float]:
    pixels = to_pixels(image, classifier.card.image_size)
    probabilities = classifier.predict(pixels[None]).probabilities[0]
    return classifier.card.classes[int(probabilities.argmax())], 100 * float(probabilities.max())


def _check(name: str, received: tuple[str, float], expected: tuple[str, float]) -> None:
    if received[0] != expected[0] or abs(received[1] - expected[1]) > _TOLERANCE:
        raise MycoflowError(f"Expected {expected} from {name}, which runs the same file, got {received}.")
