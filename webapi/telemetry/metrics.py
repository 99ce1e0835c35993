"""Metrics for Prometheus, on a separate port. Each application has its own registry; nothing is global."""

import errno
import time
from wsgiref.simple_server import WSGIServer

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, start_http_server

from ml.errors import SettingsError
from ml.serving.admission import AdmissionControl
from ml.serving.model_host import ModelHost
from webapi.problems import current_problem
from webapi.telemetry.model_metrics import ModelCollector
from webapi.telemetry.prediction_metrics import PredictionMetrics

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PREDICTIONS = frozenset({"/predictions", "/"})  # of the API, and the page on which people name a photo
_LATENCY_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The service's metrics, and the server that exports them.

    Args: models, admission: their figures are read at each scrape.
    """

    def __init__(self, models: ModelHost, admission: AdmissionControl) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ("method", "route", "status")
        self.requests = Counter("mycoflow_http_requests_total", "Requests answered", labels, registry=self.registry)
        self.latency = Histogram(
            "mycoflow_http_request_duration_seconds",
            "Time from a request's arrival to its answer",
            labels,
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.registry.register(ModelCollector(models))
        self.predictions = PredictionMetrics(self.registry, admission)
        self._server: WSGIServer | None = None

    def serve(self, host: str, port: int) -> int:
        """Export the metrics at /metrics from a separate thread.

        Args:
            host: address to listen on.
            port: port to listen on; 0 for any free port.
        Returns: the port.
        Raises: SettingsError, the port is in use, or this process may not open it.
        """
        try:
            self._server, _ = start_http_server(port, host, self.registry)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise SettingsError(
                f"MYCOFLOW_METRICS_PORT: expected a free port on {host}, got {port} ({error.strerror}). "
                "Stop the program that uses it, or set MYCOFLOW_METRICS_PORT to another port."
            ) from error
        return self._server.server_port

    def close(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def init_app(app: Flask, metrics: Metrics) -> None:
    """Count and time every request of the application."""

    def start_clock() -> None:
        g.started_at = time.perf_counter()

    def observe(response: Response) -> Response:
        # Use the route's template, never the path: clients choose the path, so it has unlimited values.
        route = request.url_rule.rule if request.url_rule else "unknown"
        method = request.method if request.method in _METHODS else "other"
        labels = (method, route, str(response.status_code))
        metrics.requests.labels(*labels).inc()
        metrics.latency.labels(*labels).observe(time.perf_counter() - g.started_at)
        problem = current_problem()
        if route in _PREDICTIONS and problem is not None:
            metrics.predictions.count_refusal(problem)
        return response

    app.before_request(start_clock)
    app.after_request(observe)
