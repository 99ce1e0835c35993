import urllib.request
from collections.abc import Callable
from socket import socket

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.errors import SettingsError
from ml.settings import Settings
from webapi import application_state
from webapi.factory import create_app


def scrape(app: Flask) -> str:
    """What Prometheus would read, over HTTP."""
    port = application_state.current(app).metrics.serve("127.0.0.1", 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text: str = answer.read().decode()
        return text


def test_requests_are_counted_by_route_template_method_and_status(app: Flask, client: FlaskClient) -> None:
    client.get("/status")
    client.get("/status")
    client.get("/a/path/nobody/knows")
    client.open("/status", method="BREW")
    figures = scrape(app)
    assert 'mycoflow_http_requests_total{method="GET",route="/status",status="200"} 2.0' in figures
    assert 'mycoflow_http_requests_total{method="GET",route="unknown",status="404"} 1.0' in figures
    assert 'mycoflow_http_requests_total{method="other",route="unknown",status="405"} 1.0' in figures
    assert 'mycoflow_http_request_duration_seconds_count{method="GET",route="/status",status="200"} 2.0' in figures
    assert "nobody" not in figures


def test_the_model_version_is_told(app: Flask, serve_version: Callable[[int], None]) -> None:
    serve_version(1)
    serve_version(7)
    told = [line for line in scrape(app).splitlines() if line.startswith("mycoflow_model_info")]
    labels = 'backbone="vgg16",backbone_weights="random:0",image_size="32",precision="fp32",version="7"'
    assert told == [f"mycoflow_model_info{{{labels}}} 1.0"]


def test_two_applications_count_apart(app: Flask, client: FlaskClient, settings: Settings) -> None:
    other = create_app(settings)
    client.get("/status")
    assert 'route="/status"' in scrape(app)
    assert 'route="/status"' not in scrape(other)
    application_state.current(other).stop()


def test_a_port_in_use_is_told_with_what_to_do(app: Flask) -> None:
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"MYCOFLOW_METRICS_PORT: expected a free port.*got {port}"):
            application_state.current(app).metrics.serve("127.0.0.1", port)
