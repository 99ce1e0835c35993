"""Names of parameters: in any case, known ones only, each once; on every route that the document has."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.settings import Settings

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
JSON = "application/json"
Png = Callable[[int], bytes]


@pytest.fixture
def photo_host(serve_script: Callable[..., int], png: Png) -> str:
    """A web server that has one image, whatever it is asked for."""
    content = png(1)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
    return f"127.0.0.1:{serve_script(lambda _, connection: connection.sendall(head + content))}"


@pytest.fixture
def settings(settings: Settings, photo_host: str) -> Settings:
    return settings.model_copy(update={"fetch_allowed_hosts": photo_host, "rate_limit": "1000000 per minute"})


# A value of each parameter of a path.
FILLED = {
    "prediction_batch_id": "1",
    "prediction_id": 1,
    "batch_id": 1,
    "version": 1,
    "sha256": "0" * 64,
    "queue": "waiting",
    "login": "nobody",
}


def operations(app: Flask) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path with its parameters filled in, and description of each operation."""
    document: Any = app.test_client().get("/openapi.json").json
    for path, item in document["paths"].items():
        filled = path.format(**FILLED)
        for method, operation in item.items():
            yield method, filled, operation


def detail(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["detail"]


def test_a_name_that_a_route_does_not_know_is_refused_by_name(app: Flask, admin: FlaskClient) -> None:
    tried = list(operations(app))
    assert len(tried) > 20
    for method, path, operation in tried:
        known = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
        status, said = detail(admin.open(f"{path}?Surely_Unknown=1", method=method))
        assert (path, status) == (path, 422)
        assert said.startswith("surely_unknown: expected ")
        assert all(name in said for name in known)


def test_a_field_that_a_form_does_not_have_is_refused_by_name(app: Flask, admin: FlaskClient) -> None:
    tried = []
    for method, path, operation in operations(app):
        for kind in set(FORMS) & set(operation.get("requestBody", {}).get("content", {})):
            tried.append(path)
            answer = admin.open(path, method=method, data={"Surely_Unknown": "1"}, content_type=kind)
            assert detail(answer)[0] == 422
            assert detail(answer)[1].startswith("surely_unknown: expected ")
    assert sorted(tried) == ["/finetune", "/prediction-batches", "/predictions"]
    answer = admin.post(
        "/predictions", data={"file": (io.BytesIO(b"x"), "x.png"), "photo": (io.BytesIO(b"x"), "y.png")}
    )
    assert detail(answer)[1].startswith("photo: expected file, nb_preds")


def test_a_property_that_a_json_body_does_not_have_is_refused_by_name(app: Flask, admin: FlaskClient) -> None:
    tried = []
    for method, path, operation in operations(app):
        if JSON in operation.get("requestBody", {}).get("content", {}):
            tried.append(path)
            status, said = detail(admin.open(path, method=method, json={"surely_unknown": 1}))
            assert (path, status) == (path, 422)
            assert "surely_unknown" in said
    assert len(tried) == len(set(tried)) > 6


def test_each_parameter_may_be_written_in_any_case_and_only_once(app: Flask, admin: FlaskClient) -> None:
    tried = 0
    for method, path, operation in operations(app):
        for each in operation.get("parameters", []):
            if each["in"] == "query":
                tried += 1
                name = each["name"]
                answer = admin.open(f"{path}?{name.upper()}=1&{name.capitalize()}=1", method=method)
                assert detail(answer)[0] == 422
                assert detail(answer)[1].startswith(f"{name}: expected it once, got it 2 times.")
    assert tried > 10


def test_an_address_that_was_not_encoded_loses_nothing_silently(
    user: FlaskClient, serve_version: Callable[[int], None], photo_host: str
) -> None:
    serve_version(1)
    status, said = detail(user.get(f"/predictions?file=http://{photo_host}/p.png?a=1&b=2"))
    assert status == 422
    assert said.startswith("b: expected file, nb_preds")
    assert "%26" in said
    encoded = f"http%3A%2F%2F{photo_host}%2Fp.png%3Fa%3D1%26b%3D2"
    assert user.get(f"/predictions?file={encoded}").status_code == 200
    assert user.get(f"/predictions?file=http://{photo_host}/p.png?a=1").status_code == 200


def test_the_specifications_own_spelling_is_understood(
    user: FlaskClient,
    admin: FlaskClient,
    serve_version: Callable[[int], None],
    photo_host: str,
    png: Png,
) -> None:
    serve_version(1)
    named: Any = user.get("/predictions", query_string={"File": f"http://{photo_host}/p.png", "Nb_preds": 3})
    assert (named.status_code, len(named.json)) == (200, 3)
    posted: Any = user.post("/predictions", data={"File": (io.BytesIO(png(2)), "p.png"), "Nb_preds": "2"})
    assert (posted.status_code, len(posted.json["results"])) == (200, 2)
    assert admin.get("/nb_new_img?Model_name=mycoflow&STAGE=Production").status_code == 200
    assert admin.get("/past_pred_acc?Nb_last_preds=5").status_code == 200
    form = {"Model_name": "mycoflow", "Stage": "Production", "Variables": "3", "Epochs": "2"}
    refused: Any = admin.post("/finetune", data=form)
    assert refused.json["type"] == "urn:mycoflow:problem:airflow-not-configured"  # all that was said was understood


def test_a_name_counts_only_for_those_who_may_ask(client: FlaskClient, user: FlaskClient) -> None:
    assert client.get("/models?surely_unknown=1").status_code == 401
    assert user.get("/models?surely_unknown=1").status_code == 403
