"""What the way of a prediction leaves in the metrics."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.deadlines import Deadline
from ml.settings import Settings
from webapi import application_state

Scrape = Callable[[], dict[str, float]]
Post = Callable[..., Any]
Png = Callable[[int], bytes]
ServeVersion = Callable[[int], None]


@pytest.fixture
def request_seconds() -> float:
    """More than a busy machine takes for any of these requests."""
    return 60


@pytest.fixture
def settings(settings: Settings, request_seconds: float) -> Settings:
    return settings.model_copy(update={"model_queue_size": 3, "request_seconds": request_seconds})


def counted(figures: dict[str, float], start: str) -> dict[str, float]:
    return {name: value for name, value in figures.items() if name.startswith(start) and "_created" not in name}


def test_predictions_are_counted_by_class_and_outcome_with_their_confidence(
    post: Post, png: Png, serve_version: ServeVersion, scrape: Scrape
) -> None:
    serve_version(1)
    best = post(png(0)).json["results"][0]
    post(png(0))
    figures = scrape()
    assert counted(figures, "mycoflow_predictions_total") == {
        f'mycoflow_predictions_total{{class="{best["name"]}",outcome="computed"}}': 1,
        f'mycoflow_predictions_total{{class="{best["name"]}",outcome="cached"}}': 1,
    }
    assert figures["mycoflow_prediction_confidence_count"] == 2
    assert figures["mycoflow_prediction_confidence_sum"] == pytest.approx(2 * best["proba"] / 100, abs=1e-4)


def test_each_stage_of_a_computed_prediction_is_timed_once(
    post: Post, png: Png, serve_version: ServeVersion, scrape: Scrape
) -> None:
    serve_version(1)
    post(png(0))
    post(png(0))
    figures = scrape()
    for stage in ("decode", "inference", "store"):
        assert figures[f'mycoflow_stage_duration_seconds_count{{stage="{stage}"}}'] == 1
        assert 0 < figures[f'mycoflow_stage_duration_seconds_sum{{stage="{stage}"}}'] < 60


def test_refused_predictions_are_counted_by_the_type_of_problem(
    client: FlaskClient,
    admin: FlaskClient,
    post: Post,
    png: Png,
    serve_version: ServeVersion,
    scrape: Scrape,
) -> None:
    post(png(0))
    serve_version(1)
    post(b"no image")
    client.post("/predictions")
    admin.get("/predictions")
    client.get("/a/path/nobody/knows")
    assert admin.put("/maintenance", json={"on": True}).status_code == 200
    post(png(0))
    refused = counted(scrape(), "mycoflow_predictions_refused_total")
    assert refused.pop('mycoflow_predictions_refused_total{reason="busy"}') == 0  # there before the first one
    assert refused == {
        f'mycoflow_predictions_refused_total{{reason="{reason}"}}': 1
        for reason in ("no-model", "not-an-image", "unauthorized", "invalid-request", "maintenance")
    }


def test_the_queue_is_told_and_who_finds_it_full_is_refused_as_busy(
    app: Flask, post: Post, png: Png, serve_version: ServeVersion, scrape: Scrape
) -> None:
    serve_version(1)
    admission = application_state.current(app).admission
    with admission.admit(), admission.admit(), admission.admit():
        taken = scrape()
        post(png(0))
    figures = scrape()
    assert (taken["mycoflow_predictions_in_progress"], taken["mycoflow_prediction_places"]) == (3, 3)
    assert figures["mycoflow_predictions_in_progress"] == 0
    assert figures['mycoflow_predictions_refused_total{reason="busy"}'] == 1


@pytest.mark.parametrize("request_seconds", [1])
def test_the_wait_for_a_turn_is_no_part_of_a_stage(
    app: Flask, post: Post, png: Png, serve_version: ServeVersion, scrape: Scrape
) -> None:
    serve_version(1)
    decoding = application_state.current(app).admission.decoding
    with decoding.enter(Deadline(1)):
        assert post(png(0)).status_code == 503
    assert counted(scrape(), "mycoflow_stage_duration_seconds") == {}


def test_feedback_is_counted_by_verdict(
    user: FlaskClient, post: Post, png: Png, serve_version: ServeVersion, scrape: Scrape
) -> None:
    serve_version(1)
    for seed, verdict in enumerate(["ok", "ok", "nok"]):
        prediction = post(png(seed)).json["id"]
        assert user.post(f"/predictions/{prediction}/feedback", json={"verdict": verdict}).status_code == 200
    user.post("/predictions/999/feedback", json={"verdict": "ok"})
    figures = scrape()
    assert figures['mycoflow_feedback_total{verdict="ok"}'] == 2
    assert figures['mycoflow_feedback_total{verdict="nok"}'] == 1


def test_swaps_are_counted_and_the_first_model_is_none(serve_version: ServeVersion, scrape: Scrape) -> None:
    serve_version(1)
    assert scrape()["mycoflow_model_swaps_total"] == 0
    serve_version(2)
    assert scrape()["mycoflow_model_swaps_total"] == 1
