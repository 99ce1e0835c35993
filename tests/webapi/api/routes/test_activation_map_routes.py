"""Where the model saw a class: a picture over the photo, for those who may see the photo."""

import io
from collections.abc import Callable
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from ml.backbones.preprocessing import to_pixels
from ml.serving.admission import AdmissionControl
from ml.serving.loaded_model import LoadedModel
from ml.tasks.classification.classification_task import TASK
from webapi import application_state

Png = Callable[[int], bytes]
Post = Callable[..., TestResponse]


def half_red(width: int, height: int) -> bytes:
    """A photo that is grey, and red at the right."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    pixels[:, width * 3 // 4 :] = (250, 20, 20)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def asked(serve_version: Callable[[int], None], post: Post, png: Png) -> str:
    """The address of the map of a photo that the user asked about."""
    serve_version(1)
    return map_of(post(png(1)))


def map_of(answer: TestResponse) -> str:
    assert answer.status_code == 200
    return f"/predictions/{answer.headers['Prediction-Id']}/activation-map"


def problem_of(answer: TestResponse) -> tuple[int, str]:
    body: Any = answer.json
    return answer.status_code, body["type"].rpartition(":")[2]


def read(answer: TestResponse) -> np.ndarray:
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    with Image.open(io.BytesIO(answer.data)) as image:
        assert image.mode == "RGBA"
        return np.asarray(image)


@pytest.mark.parametrize(
    ("size", "shown"), [((300, 120), (300, 120)), ((90, 200), (90, 200)), ((1500, 500), (640, 213))]
)
def test_the_map_has_the_proportions_of_the_photo_and_marks_what_the_model_saw(
    app: Flask, serve_version: Callable[[int], None], post: Post, user: FlaskClient, size: Any, shown: Any
) -> None:
    serve_version(1)
    content = half_red(*size)
    address = map_of(post(content))
    model: Any = application_state.current(app).models.demand_current().model
    evidence = {name: model.locate(to_pixels(content, 32), name) for name in model.card.classes}
    stands_out = [name for name, grid in evidence.items() if grid[:, 3].min() > max(grid[:, :3].max(), 0)]
    assert stands_out  # red speaks for these classes, and grey less or against them
    for name in stands_out:
        picture = read(user.get(address, query_string={"class": name}))
        assert picture.shape == (shown[1], shown[0], 4)
        opacity = picture[..., 3]
        assert opacity[:, -1].min() == round(0.7 * 255)
        assert opacity[:, : shown[0] // 2].max() < opacity[:, -1].min()


def test_the_first_class_of_the_answer_is_shown_unless_another_is_asked_for(
    asked: str, user: FlaskClient, png: Png
) -> None:
    file = {"file": (io.BytesIO(png(1)), "photo.png")}
    answer: Any = user.post("/predictions?nb_preds=4", data=file).json
    names = [each["name"] for each in answer["results"]]
    by_class = [user.get(asked, query_string={"class": name}).data for name in names]
    assert user.get(asked).data == by_class[0]
    assert by_class[0] != by_class[1]
    assert user.get(asked, query_string={"CLASS": f"{names[1].upper()}_"}).data == by_class[1]
    for wrong in ({"class": "toadstool"}, {"class": ""}, {"class": "a\nb"}, {"class": "x" * 201}, {"klass": names[0]}):
        assert problem_of(user.get(asked, query_string=wrong)) == (422, "invalid-request")


def test_a_map_is_for_whom_the_photo_is_for(
    client: FlaskClient, user: FlaskClient, expert: FlaskClient, admin: FlaskClient, log_in: Callable[..., FlaskClient],
    asked: str, png: Png,
) -> None:  # fmt: skip
    other = log_in("user")
    callers = (client, user, other, expert, admin)
    assert [each.get(asked).status_code for each in callers] == [401, 200, 404, 200, 200]
    assert "private" in user.get(asked).headers["Cache-Control"]
    same = other.post("/predictions", data={"file": (io.BytesIO(png(1)), "same.png")})
    assert other.get(map_of(same)).status_code == 200
    assert problem_of(other.get(asked)) == (404, "unknown-prediction")  # it is of another account


def test_an_erased_photo_and_an_unknown_prediction_have_no_map(
    user: FlaskClient, expert: FlaskClient, admin: FlaskClient, asked: str, png: Png
) -> None:
    assert user.delete(f"/images/{sha256_of(png(1)).hexdigest()}").status_code == 204
    for caller in (user, expert, admin):
        assert problem_of(caller.get(asked)) == (404, "unknown-prediction")
        assert problem_of(caller.get("/predictions/999999/activation-map")) == (404, "unknown-prediction")


def test_a_prediction_of_another_version_says_which_one_is_served(
    user: FlaskClient, asked: str, serve_version: Callable[[int], None], post: Post, png: Png
) -> None:
    serve_version(2)
    answer = user.get(asked)
    assert problem_of(answer) == (409, "no-activation-map")
    body: Any = answer.json
    assert "version 2, which is served now, got one of version 1" in body["detail"]
    assert user.get(map_of(post(png(1)))).status_code == 200


def test_a_model_without_a_map_answers_as_before_and_says_so(
    app: Flask, write_bundle: Callable[[Path, int], Path], tmp_path: Path, post: Post, user: FlaskClient, png: Png
) -> None:
    bundle = write_bundle(tmp_path / "1-run", 1)
    network = onnx.load(str(bundle / "model.onnx"))
    del network.graph.output[2]
    onnx.save(network, str(bundle / "model.onnx"))
    application_state.current(app).models.serve(LoadedModel.load(bundle, TASK))
    answer = user.get(map_of(post(png(1))))
    assert problem_of(answer) == (409, "no-activation-map")
    body: Any = answer.json
    assert "Retrain." in body["detail"]


def test_a_busy_service_refuses_maps_as_it_refuses_predictions(
    app: Flask, asked: str, user: FlaskClient, admin: FlaskClient
) -> None:
    admission: AdmissionControl = application_state.current(app).admission
    with admission.admit(None):
        assert user.get(asked).status_code == 200
    places = [admission.admit(None) for _ in range(admission.places)]
    for place in places:
        place.__enter__()
    try:
        answer = user.get(asked)
        assert (problem_of(answer), "Retry-After" in answer.headers) == ((503, "busy"), True)
    finally:
        for place in places:
            place.__exit__(None, None, None)
    assert admin.put("/maintenance", json={"on": True}).status_code == 200
    assert user.get(asked).status_code == 503
