from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from webapi.access.authentication import public


def problem(answer: TestResponse) -> tuple[int, str]:
    """Check the shape that all problems share; return the status and what kind it is."""
    assert answer.mimetype == "application/problem+json"
    assert answer.json is not None
    assert list(answer.json) == ["type", "title", "status", "detail", "request_id"]
    assert answer.json["status"] == answer.status_code
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    return answer.status_code, answer.json["type"].removeprefix("urn:mycoflow:problem:")


def test_an_unknown_path_is_a_problem(client: FlaskClient) -> None:
    assert problem(client.get("/nowhere")) == (404, "not-found")


def test_a_wrong_method_is_a_problem_that_names_the_right_ones(client: FlaskClient) -> None:
    answer = client.delete("/status")
    assert problem(answer) == (405, "method-not-allowed")
    assert "GET" in answer.headers["Allow"]


def test_an_unexpected_error_is_a_problem_that_tells_nothing_of_the_inside(app: Flask) -> None:
    @app.get("/broken")
    @public
    def broken() -> str:
        raise ZeroDivisionError("secret")

    answer = app.test_client().get("/broken")
    assert problem(answer) == (500, "internal-server-error")
    assert "secret" not in answer.text


def test_a_body_over_the_limit_is_refused(post: Callable[..., TestResponse]) -> None:
    assert problem(post(bytes(5_000_000))) == (413, "request-entity-too-large")


@pytest.mark.parametrize("content", [b"", b"GIF89a but no more", b"<html>", bytes(100)])
def test_what_is_no_image_is_refused(
    content: bytes, post: Callable[..., TestResponse], serve_version: Callable[[int], None]
) -> None:
    serve_version(1)
    assert problem(post(content))[0] == 415


def test_a_file_just_over_the_limit_is_refused(
    post: Callable[..., TestResponse], serve_version: Callable[[int], None]
) -> None:
    serve_version(1)
    assert problem(post(bytes(4 * 1024 * 1024 + 1))) == (413, "too-large")


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "two", "", "5", "99999999999", "٣"])
def test_a_count_that_is_no_positive_integer_or_more_than_the_classes_is_refused(
    count: str, post: Callable[..., TestResponse], serve_version: Callable[[int], None], png: Callable[[int], bytes]
) -> None:
    serve_version(1)
    assert problem(post(png(1), nb_preds=count)) == (422, "invalid-request")


def test_a_request_without_a_file_is_refused(user: FlaskClient) -> None:
    assert problem(user.post("/predictions")) == (422, "missing-file")


def test_before_the_first_model_a_prediction_is_told_to_come_back(
    post: Callable[..., TestResponse], png: Callable[[int], bytes]
) -> None:
    answer = post(png(1))
    assert problem(answer) == (503, "no-model")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_request_id_is_kept_when_it_is_harmless(client: FlaskClient) -> None:
    assert client.get("/status", headers={"X-Request-ID": "proxy-1.a_B"}).headers["X-Request-ID"] == "proxy-1.a_B"
    assert client.get("/status", headers={"X-Request-ID": '"},{"'}).headers["X-Request-ID"].isalnum()
