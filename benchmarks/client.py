"""The clients for a load test: they keep their connections open, and measure the time to each answer.

They are threads with the standard library's HTTP client, in a process separate from the server. General load tools
cannot send another image with every request, or need several times the CPU per request; on two cores, the server would
lack that CPU time. All request bodies are ready before the measurement starts.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import cycle, islice
from statistics import median

import numpy as np

from benchmarks.apart import apart
from ml.deadlines import Deadline
from ml.errors import MycoflowError

_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Route:
    """The target of the requests: host and port, path, and headers."""

    address: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """The plan of a load test.

    Args:
        rounds: number of rounds for each number of clients; the report has medians.
        seconds: duration of one round.
        clients: numbers of parallel clients. A client sends its next request as soon as it has the answer.
    """

    rounds: int
    seconds: float
    clients: tuple[int, ...] = (1, 8)


@dataclass(frozen=True)
class Round:
    """The measurements of one round.

    Args:
        latencies: seconds per answer.
        seconds: from the first request to the last answer.
    """

    latencies: list[float]
    seconds: float


@dataclass(frozen=True)
class Load:
    """The throughput and latencies of a server at a number of clients: medians over the rounds."""

    rps: float
    p50_ms: float
    p95_ms: float

    def figures(self, name: str, clients: int) -> dict[str, float]:
        """Return the figures with their names in the report, such as `serve_p50_ms_8`."""
        return {f"{name}_{metric}_{clients}": value for metric, value in vars(self).items()}


def summarise(rounds: Sequence[Round]) -> Load:
    """Compute throughput and latencies of each round, and return their medians over the rounds."""
    percentiles = [np.percentile(each.latencies, (50, 95)) * 1000 for each in rounds]
    return Load(
        rps=median(len(each.latencies) / each.seconds for each in rounds),
        p50_ms=float(median(each[0] for each in percentiles)),
        p95_ms=float(median(each[1] for each in percentiles)),
    )


def measure_fresh(
    name: str, route: Route, bodies: Iterator[bytes], plan: Plan, most_per_second: int
) -> dict[str, float]:
    """Measure a server with a new body in each request.

    Args:
        name: prefix of the figures' names.
        bodies: an unlimited supply of request bodies.
        most_per_second: number of bodies prepared for each second. A faster server ends its round earlier.
    Raises: MycoflowError, the status of an answer was not 200.
    """
    count = math.ceil(most_per_second * plan.seconds)
    return _measure(name, plan, lambda clients: (route, list(islice(bodies, count)), clients, plan.seconds, False))


def measure_repeated(name: str, route: Route, bodies: Sequence[bytes], plan: Plan) -> dict[str, float]:
    """Measure a server with the same few bodies repeated.

    Raises: MycoflowError, the status of an answer was not 200.
    """
    return _measure(name, plan, lambda clients: (route, bodies, clients, plan.seconds, True))


def post(route: Route, body: bytes) -> bytes:
    """Send one request.

    Raises: MycoflowError, the status of the answer was not 200.
    """
    connection = _connect(route)
    try:
        return _ask(connection, route, body)
    finally:
        connection.close()


def _measure(
    name: str, plan: Plan, arguments: Callable[[int], tuple[Route, Sequence[bytes], int, float, bool]]
) -> dict[str, float]:
    figures: dict[str, float] = {}
    for clients in plan.clients:
        load = summarise([apart(_post_all, *arguments(clients)) for _ in range(plan.rounds)])
        figures |= load.figures(name, clients)
    return figures


def _post_all(route: Route, bodies: Sequence[bytes], clients: int, seconds: float, is_repeated: bool) -> Round:
    waiting = iter(cycle(bodies) if is_repeated else bodies)
    latencies: list[float] = []
    failures: list[Exception] = []
    began = time.perf_counter()
    arguments = (route, waiting, Deadline(seconds), latencies, failures)
    threads = [threading.Thread(target=_keep_posting, args=arguments) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return Round(latencies, time.perf_counter() - began)


def _keep_posting(
    route: Route, waiting: Iterator[bytes], deadline: Deadline, latencies: list[float], failures: list[Exception]
) -> None:
    connection = _connect(route)
    try:
        while deadline.remaining() and (body := next(waiting, None)) is not None:
            began = time.perf_counter()
            _ask(connection, route, body)
            latencies.append(time.perf_counter() - began)
    except (MycoflowError, OSError) as error:
        failures.append(error)
    finally:
        connection.close()


def _connect(route: Route) -> HTTPConnection:
    return HTTPConnection(route.address, timeout=_TIMEOUT_SECONDS)


def _ask(connection: HTTPConnection, route: Route, body: bytes) -> bytes:
    connection.request("POST", route.path, body, route.headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise MycoflowError(
            f"Expected the status 200 from {route.address}{route.path}, got {answer.status}: {content[:500]!r}"
        )
    return content
