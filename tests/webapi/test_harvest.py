"""What the model is sure about goes into the pool; nothing else does, and nothing that is known already."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256 as sha256_of
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from flask import Flask
from PIL import Image

from ml.catalog.database import Catalog
from ml.catalog.locks import lock_membership
from ml.catalog.tables import annotations, events, items
from ml.settings import Settings
from tests.ml.image_rows import add_item
from webapi import application_state

Post = Callable[..., Any]  # JSON bodies have no types
SURE = 0.70


def picture(seed: int) -> bytes:
    """Coloured tiles, as unlike any other seed's as two photos are."""
    tiles = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return png(Image.fromarray(tiles).resize((64, 64), Image.Resampling.NEAREST))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def pictures(app: Flask, serve_version: Callable[[int], None]) -> dict[bool, bytes]:
    """A picture that the model is sure about, and one that it is not."""
    serve_version(1)
    model = application_state.current(app).models.current
    assert model is not None
    found: dict[bool, bytes] = {}
    for seed in range(300):
        content = picture(seed)
        found.setdefault(_confidence(model, content) > SURE, content)
    return found


def _confidence(model: Any, content: bytes) -> float:
    from ml.backbones.preprocessing import to_pixels

    return float(model.predict(to_pixels(content, 32)[None]).probabilities.max())


def rows(catalog: Catalog, table: sa.Table) -> list[Any]:
    with catalog.begin() as connection:
        return list(connection.execute(sa.select(table)))


def test_a_sure_prediction_is_harvested(post: Post, pictures: dict[bool, bytes], catalog: Catalog) -> None:
    answer = post(pictures[True])
    (image,) = rows(catalog, items)
    name = answer.json["results"][0]["name"]
    assert (image.split, image.class_names, image.label_origin) == ("pool", [name], "harvested")
    assert image.entered_pool_at is not None
    assert image.group_key == image.id == sha256_of(pictures[True]).hexdigest()
    (label,) = rows(catalog, annotations)
    assert (label.class_names, label.origin, label.said_by) == ([name], "harvested", "version:1")
    (event,) = rows(catalog, events)
    assert (event.kind, event.actor) == ("image.harvested", "version:1")


def test_an_unsure_prediction_is_only_kept(post: Post, pictures: dict[bool, bytes], catalog: Catalog) -> None:
    assert post(pictures[False]).status_code == 200
    (image,) = rows(catalog, items)
    assert (image.split, image.class_names, image.entered_pool_at) == (None, None, None)
    assert rows(catalog, annotations) == []


def test_the_same_image_is_harvested_once(post: Post, pictures: dict[bool, bytes], catalog: Catalog) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: post(pictures[True]).status_code, range(4)))
    assert answers == [200] * 4
    assert len(rows(catalog, annotations)) == 1


@pytest.mark.parametrize(
    "known",
    [
        {"split": "pool", "class_names": ["boletus"], "label_origin": "curated"},
        {"split": "evaluation", "evaluation_part": "anchor", "class_names": ["boletus"], "label_origin": "curated"},
        {"held_back": "excluded"},
        {"held_back": "suspended", "split": "pool", "class_names": ["boletus"], "label_origin": "harvested"},
    ],
)
def test_an_image_that_has_a_place_keeps_it(
    known: dict[str, Any], post: Post, pictures: dict[bool, bytes], catalog: Catalog
) -> None:
    with catalog.begin() as connection:
        sha256 = sha256_of(pictures[True]).hexdigest()
        add_item(connection, sha256, **known)
    before = rows(catalog, items)
    assert post(pictures[True]).status_code == 200
    assert rows(catalog, items) == before


def test_an_image_whose_prediction_is_disputed_is_not_harvested_later(
    app: Flask, user: Any, post: Post, pictures: dict[bool, bytes], catalog: Catalog
) -> None:
    current = application_state.current(app)
    unsure = Settings(**current.settings.model_dump() | {"harvest_confidence": 1.0})
    app.extensions["mycoflow"] = type(current)(**vars(current) | {"settings": unsure})
    prediction = post(pictures[True]).json["id"]
    assert user.post(f"/predictions/{prediction}/feedback", json={"verdict": "nok"}).status_code == 200
    app.extensions["mycoflow"] = current
    post(pictures[True])
    (image,) = rows(catalog, items)
    assert image.split is None


@pytest.mark.parametrize("colour", ["white", "black", "green", "grey"])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_what_shows_nothing_is_not_harvested(
    app: Flask, post: Post, pictures: dict[bool, bytes], catalog: Catalog, colour: str, file_format: str
) -> None:
    current = application_state.current(app)
    sure = Settings(**current.settings.model_dump() | {"harvest_confidence": 0.0})
    app.extensions["mycoflow"] = type(current)(**vars(current) | {"settings": sure})
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, file_format)
    assert post(buffer.getvalue()).status_code == 200
    assert post(pictures[True]).status_code == 200
    assert [row.split for row in sorted(rows(catalog, items), key=lambda row: row.received_at)] == [None, "pool"]


def test_copies_of_one_photo_are_harvested_once_and_the_answer_does_not_tell(
    post: Post, pictures: dict[bool, bytes], catalog: Catalog
) -> None:
    first = post(pictures[True]).json
    for counter in range(3):
        answer = post(pictures[True] + b"%d" % counter).json
        assert answer.keys() == first.keys()
        assert answer["results"] == first["results"]
    assert [row.split for row in rows(catalog, items)].count("pool") == 1


def test_requests_that_harvest_nothing_do_not_wait_for_the_membership(
    post: Post, pictures: dict[bool, bytes], catalog: Catalog
) -> None:
    post(pictures[True])
    with ThreadPoolExecutor(2) as threads, catalog.begin() as connection:
        lock_membership(connection, "pool")  # a long ingestion
        for content in pictures.values():
            assert threads.submit(post, content).result(timeout=60).status_code == 200


def test_a_harvest_that_cannot_be_does_not_fail_the_prediction_and_is_made_up_for(
    settings: Settings, post: Post, pictures: dict[bool, bytes], catalog: Catalog
) -> None:
    with ThreadPoolExecutor(1) as threads, catalog.begin() as connection:
        lock_membership(connection, "pool")
        assert threads.submit(post, pictures[True]).result(timeout=60).status_code == 200
    (image,) = rows(catalog, items)
    assert image.split is None
    post(pictures[True])
    (image,) = rows(catalog, items)
    assert image.split == "pool"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"harvest_confidence": SURE})
