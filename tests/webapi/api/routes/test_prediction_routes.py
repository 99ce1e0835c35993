from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from pydantic import SecretStr

from ml.catalog.database import Catalog
from ml.catalog.object_store import image_key
from ml.catalog.tables import features, items, predictions, results
from ml.settings import Settings
from ml.tasks.classification.classifier import Classifier
from webapi import application_state
from webapi.factory import create_app

Post = Callable[..., Any]  # JSON bodies have no types
Serve = Callable[[int], None]
Png = Callable[[int], bytes]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Never sure enough to harvest: that has tests of its own."""
    return settings.model_copy(update={"harvest_confidence": 1.0})


def count(catalog: Catalog, table: sa.Table) -> int:
    with catalog.begin() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_names_come_best_first_in_percent(post: Post, serve_version: Serve, png: Png) -> None:
    serve_version(2)
    answer = post(png(1), nb_preds="4").json
    assert set(answer) == {"id", "model", "cached", "novelty", "is_novel", "results"}
    assert (answer["novelty"], answer["is_novel"]) == (None, False)
    assert answer["model"] == {"name": "mycoflow", "version": 2}
    assert answer["cached"] is False
    shares = [result["proba"] for result in answer["results"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.05)
    assert all(share == round(share, 2) for share in shares)


def test_one_name_is_the_default_and_the_query_may_ask_for_more(post: Post, serve_version: Serve, png: Png) -> None:
    serve_version(1)
    assert len(post(png(1)).json["results"]) == 1
    assert len(post(png(1), path="/predictions?nb_preds=3").json["results"]) == 3


def test_a_photo_close_to_the_limit_is_taken(post: Post, serve_version: Serve) -> None:
    serve_version(1)
    pixels = np.random.default_rng(0).integers(0, 256, (1150, 1200, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    assert 4_000_000 < buffer.tell() < 4 * 1024 * 1024
    assert post(buffer.getvalue()).status_code == 200


def test_the_same_image_is_answered_from_the_store_without_the_model(
    post: Post, serve_version: Serve, png: Png, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_version(1)
    first = post(png(1)).json
    monkeypatch.delattr(Classifier, "predict")
    monkeypatch.delattr(Classifier, "classify")
    second = post(png(1), nb_preds="2").json
    assert second["cached"] is True
    assert second["results"][0] == first["results"][0]
    assert second["id"] != first["id"]
    assert (count(catalog, results), count(catalog, predictions)) == (1, 2)


def test_an_image_is_kept_without_its_metadata_and_belongs_to_no_split(
    post: Post, serve_version: Serve, png: Png, catalog: Catalog
) -> None:
    serve_version(1)
    content = png(1)
    post(content)
    with catalog.begin() as connection:
        image = connection.execute(sa.select(items)).one()
    assert image.id == sha256(content).hexdigest()
    assert (image.split, image.class_names, image.entered_pool_at) == (None, None, None)
    assert catalog.store.get(image_key(image.id)).startswith(b"\x89PNG")


def test_the_features_are_kept_and_spare_the_next_version_the_backbone(
    post: Post, serve_version: Serve, png: Png, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, app: Flask
) -> None:
    serve_version(1)
    post(png(1))
    serve_version(2)
    model = application_state.current(app).models.current
    assert model is not None
    with catalog.begin() as connection:
        row = connection.execute(sa.select(features)).one()
    assert row.backbone_id == model.card.backbone_id
    expected = model.answer(np.frombuffer(row.vector, "<f4")).probabilities
    monkeypatch.delattr(Classifier, "predict")
    answer = post(png(1), nb_preds="4").json
    assert answer["model"]["version"] == 2
    assert answer["cached"] is False
    assert answer["results"][0]["proba"] == pytest.approx(100 * expected.max(), abs=0.01)
    assert count(catalog, features) == 1


def test_twins_at_the_same_moment_are_computed_once(
    app: Flask, user: FlaskClient, serve_version: Serve, png: Png, catalog: Catalog
) -> None:
    serve_version(1)

    def ask(_: int) -> bool:
        data = {"file": (BytesIO(png(1)), "photo.png")}
        answer = app.test_client().post("/predictions", data=data, environ_base=user.environ_base)
        return bool((answer.json or {})["cached"])

    twins = 4  # the places of one account
    with ThreadPoolExecutor(twins) as threads:
        cached = list(threads.map(ask, range(twins)))
    assert sorted(cached) == [False] + [True] * (twins - 1)
    assert (count(catalog, results), count(catalog, predictions)) == (1, twins)


def test_a_refused_image_leaves_nothing(post: Post, serve_version: Serve, catalog: Catalog) -> None:
    serve_version(1)
    assert post(b"\x89PNG\r\n\x1a\n and then nothing").status_code == 415
    assert (count(catalog, items), count(catalog, predictions)) == (0, 0)


def test_without_a_database_a_prediction_is_told_to_come_back(
    settings: Settings, app: Flask, user: FlaskClient, serve_version: Serve, png: Png, free_port: Callable[[], int]
) -> None:
    serve_version(1)
    url = SecretStr(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    cut_off = create_app(settings.model_copy(update={"database_url": url}))
    model = application_state.current(app).models.current
    assert model is not None
    application_state.current(cut_off).models.serve(model)
    data = {"file": (BytesIO(png(1)), "photo.png")}
    answer: Any = cut_off.test_client().post("/predictions", data=data, environ_base=user.environ_base)
    assert answer.status_code == 503
    assert answer.json["type"].endswith(":database-unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_an_image_store_that_cannot_be_written_leaves_no_row(
    settings: Settings, post: Post, serve_version: Serve, png: Png, catalog: Catalog
) -> None:
    serve_version(1)
    settings.mycoflow_home.mkdir(parents=True)
    (settings.mycoflow_home / "store").write_text("a file where the store's folder should be")
    answer = post(png(1))
    assert (answer.status_code, answer.json["type"]) == (503, "urn:mycoflow:problem:image-store-unavailable")
    assert (count(catalog, items), count(catalog, predictions)) == (0, 0)
