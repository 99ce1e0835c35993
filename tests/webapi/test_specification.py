"""The five tests that the specification names, against a web server that really listens."""

import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from ml.settings import Settings

Client = Any  # JSON bodies have no types


@pytest.fixture
def server(serve_script: Callable[..., int], png: Callable[[int], bytes]) -> str:
    """A web site with a photo, a page, and nothing else."""
    files = {"/photo.png": png(1), "/page.png": b"<html>no photo</html>"}

    def script(path: str, connection: socket.socket) -> None:
        body = files.get(path)
        status = "404 Not Found" if body is None else "200 OK"
        head = f"HTTP/1.1 {status}\r\nContent-Type: image/png\r\nContent-Length: {len(body or b'')}\r\n\r\n"
        connection.sendall(head.encode() + (body or b""))

    return f"127.0.0.1:{serve_script(script)}"


@pytest.fixture
def settings(settings: Settings, server: str) -> Settings:
    return settings.model_copy(update={"fetch_allowed_hosts": server})


@pytest.fixture
def site(server: str, serve_version: Callable[[int], None]) -> str:
    """The site, while a model is in production."""
    serve_version(1)
    return f"http://{server}"


def ask(user: FlaskClient, url: str, **parameters: object) -> Any:
    return user.get("/predictions", query_string={"file": url, **parameters})


@pytest.mark.usefixtures("site")
def test_physical_image(post: Callable[..., Any], png: Callable[[int], bytes]) -> None:
    answer = post(png(1), nb_preds="2")
    assert answer.status_code == 200
    assert [set(result) for result in answer.json["results"]] == [{"name", "proba"}] * 2


def test_url(user: FlaskClient, site: str) -> None:
    answer = ask(user, f"{site}/photo.png", nb_preds=3)
    assert answer.status_code == 200
    assert [set(result) for result in answer.json] == [{"name", "proba"}] * 3
    shares = [result["proba"] for result in answer.json]
    assert shares == sorted(shares, reverse=True)
    assert len(ask(user, f"{site}/photo.png").json) == 1


def test_an_answer_without_an_id_in_its_body_leads_to_its_feedback(
    user: FlaskClient, site: str, post: Callable[..., Any], png: Callable[[int], bytes]
) -> None:
    answer = ask(user, f"{site}/photo.png")
    assert [set(result) for result in answer.json] == [{"name", "proba"}]
    address, relation = re.fullmatch(r'<(.+)>; rel="(.+)"', answer.headers["Link"]).groups()  # type: ignore[union-attr]
    assert (address, relation) == (
        f"/predictions/{answer.headers['Prediction-Id']}/feedback",
        "urn:mycoflow:relation:feedback",
    )
    assert user.post(address, json={"verdict": "ok"}).status_code == 200
    posted = post(png(1))
    assert posted.headers["Prediction-Id"] == str(posted.json["id"])
    assert posted.headers["Link"].startswith(f"</predictions/{posted.json['id']}/feedback>")


def test_not_an_image(user: FlaskClient, site: str) -> None:
    assert ask(user, f"{site}/page.png").status_code == 415


def test_missing_image(user: FlaskClient, site: str) -> None:
    assert ask(user, f"{site}/nothing.png").status_code == 404


@pytest.mark.parametrize("count", ["two", "1.5", "1.0", "", "0", "-1", "5", "٣", "1_0"])
def test_non_integer_count(count: str, user: FlaskClient, site: str) -> None:
    assert ask(user, f"{site}/photo.png", nb_preds=count).status_code == 422


def test_a_url_and_its_upload_are_the_same_image(
    user: Client, site: str, post: Callable[..., Any], png: Callable[[int], bytes]
) -> None:
    first = user.post("/predictions", json={"url": f"{site}/photo.png", "nb_preds": 4})
    assert first.status_code == 200
    assert first.json["cached"] is False
    second = post(png(1), nb_preds="4")
    assert second.json["cached"] is True
    assert second.json["results"] == first.json["results"]
    assert (
        user.get("/predictions", query_string={"file": f"{site}/photo.png", "nb_preds": 4}).json
        == (first.json["results"])
    )


@pytest.mark.parametrize(
    "body",
    [{}, [], "text", None, {"url": 1}, {"url": "http://a.example/", "nb_preds": True}, {"url": "x" * 5000}],
)
def test_a_json_body_of_another_shape_is_refused(body: object, user: Client, site: str) -> None:
    assert site
    assert user.post("/predictions", json=body).status_code == 422


@pytest.mark.usefixtures("site")
def test_a_url_is_needed(user: FlaskClient) -> None:
    assert user.get("/predictions").status_code == 422
    assert user.post("/predictions", data="{", content_type="application/json").status_code == 400


def test_nobody_known_gets_nothing(client: FlaskClient, site: str) -> None:
    for answer in (ask(client, f"{site}/photo.png"), client.post("/predictions")):
        assert answer.status_code == 401
        assert "WWW-Authenticate" in answer.headers
