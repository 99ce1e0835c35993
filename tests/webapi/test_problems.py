import io
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask
from flask.testing import FlaskClient
from markupsafe import escape
from PIL import Image
from werkzeug.test import TestResponse

from ml.catalog.database import Catalog
from ml.catalog.tables import images
from ml.errors import BusyError
from ml.settings import Settings
from tests.application import add_to_api, application_as_web
from webapi import application_state
from webapi.access.authentication import public, requires
from webapi.problems import record_problem


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
    @public
    def broken() -> str:
        raise ZeroDivisionError("secret")

    add_to_api(app, "/broken", broken)
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


def test_an_error_is_rendered_by_the_blueprint_that_it_occurs_in(app: Flask) -> None:
    @public
    def crowded() -> str:
        raise BusyError("all <places> are taken")

    def render(error: Exception) -> tuple[str, int]:
        found = record_problem(error)
        return f"<h1>{escape(found.detail)}</h1>", found.status

    pages = Blueprint("pages", __name__, url_prefix="/pages")
    pages.register_error_handler(Exception, render)
    pages.add_url_rule("/crowded", "crowded", crowded)
    pages.add_url_rule("/private", "private", requires("user")(lambda: "open"))
    app.register_blueprint(pages)
    add_to_api(app, "/crowded", crowded)
    client = app.test_client()
    as_page, as_json = client.get("/pages/crowded"), client.get("/crowded")
    assert (as_page.status_code, as_page.mimetype, as_page.text) == (
        503, "text/html", "<h1>all &lt;places&gt; are taken</h1>",
    )  # fmt: skip
    assert problem(as_json) == (503, "busy")
    private = client.get("/pages/private")
    assert (private.status_code, private.mimetype) == (401, "text/html")
    assert problem(client.get("/pages/nowhere")) == (404, "not-found")


def test_a_request_over_its_time_says_so_and_not_that_the_database_is_down(
    settings: Settings,
    user: FlaskClient,
    catalog: Catalog,
    serve_version: Callable[[int], None],
    app: Flask,
    png: Callable[[int], bytes],
) -> None:
    serve_version(1)
    with application_as_web(settings.model_copy(update={"request_seconds": 2})) as hasty, catalog.begin() as connection:
        application_state.current(hasty).models.serve(application_state.current(app).models.demand_current())
        connection.execute(sa.text(f"LOCK TABLE {images.fullname} IN ACCESS EXCLUSIVE MODE"))
        data = {"file": (io.BytesIO(png(1)), "photo.png")}
        answer = hasty.test_client().post("/predictions", data=data, environ_base=user.environ_base)
    assert problem(answer) == (503, "time-over")
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("length", [20, 100, 400])
def test_a_refusal_names_no_object_of_the_library(
    length: int, post: Callable[..., TestResponse], serve_version: Callable[[int], None]
) -> None:
    serve_version(1)
    for file_format in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        buffer = io.BytesIO()
        Image.effect_noise((64, 64), 50).save(buffer, file_format)
        answer = post(buffer.getvalue()[:length])
        assert problem(answer)[0] == 415
        assert not any(word in answer.text for word in ("0x", "BytesIO", "PIL", "object at"))
