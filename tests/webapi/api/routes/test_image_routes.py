"""The bytes of photos, for those who may see them."""

import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnx
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from ml.catalog.database import Catalog
from ml.catalog.images.batches import add_rights
from ml.catalog.images.photo_vectors import index_vectors, save_vectors
from ml.catalog.models.backbone_records import StoredBackbone, save_backbone
from ml.catalog.object_store import backbone_key, image_key
from ml.catalog.tables import features, items
from ml.errors import BusyError, ImageStoreError
from ml.ingest.folder import ingest_folder
from ml.serving import similar_photos
from ml.serving.picture_decoder.decoder_process import DecoderProcess
from webapi import application_state
from webapi.access.session_cookie import SESSION_COOKIE

Png = Callable[[int], bytes]
Post = Callable[..., TestResponse]


@pytest.fixture
def asked(serve_version: Callable[[int], None], post: Post, png: Png) -> str:
    """The hash of a photo that the user asked about."""
    serve_version(1)
    assert post(png(1)).status_code == 200
    return sha256_of(png(1)).hexdigest()


@pytest.fixture
def ingest(catalog: Catalog, png: Png, tmp_path: Path) -> Callable[..., str]:
    """Takes in a photo that nobody asked about; gives its hash."""

    def take_in(seed: int, into: Any = "pool", **values: object) -> str:
        folder = tmp_path / f"{into}-{seed}"
        (folder / "amanita").mkdir(parents=True)
        (folder / "amanita" / "photo.png").write_bytes(png(seed))
        ingest_folder(catalog, folder, into)
        sha256 = sha256_of(png(seed)).hexdigest()
        if values:
            with catalog.begin() as connection:
                connection.execute(sa.update(items).where(items.c.id == sha256).values(values))
        return sha256

    return take_in


def statuses(sha256: str, *clients: FlaskClient) -> list[int]:
    return [client.get(f"/images/{sha256}").status_code for client in clients]


def test_a_photo_is_given_as_it_is_stored_and_kept_by_nobody_else(user: FlaskClient, asked: str, png: Png) -> None:
    answer = user.get(f"/images/{asked}")
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    shown, sent = (Image.open(io.BytesIO(content)) for content in (answer.data, png(1)))
    assert np.array_equal(np.asarray(shown), np.asarray(sent))
    assert "private" in answer.headers["Cache-Control"]
    assert "public" not in answer.headers["Cache-Control"]
    assert answer.headers["Vary"] == "Authorization"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_browser_asks_again_before_it_shows_its_copy(user: FlaskClient, asked: str) -> None:
    answer = user.get(f"/images/{asked}")
    assert "no-cache" in answer.headers["Cache-Control"]
    again = {"If-None-Match": answer.headers["ETag"]}
    unchanged = user.get(f"/images/{asked}", headers=again)
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    assert user.delete(f"/images/{asked}").status_code == 204
    assert user.get(f"/images/{asked}", headers=again).status_code == 404


def test_what_one_asked_about_is_for_oneself_those_who_judge_and_admins(
    client: FlaskClient, user: FlaskClient, log_in: Callable[..., FlaskClient], expert: FlaskClient, admin: FlaskClient,
    asked: str,
) -> None:  # fmt: skip
    other = log_in("user")
    assert statuses(asked, client, user, other, expert, admin) == [401, 200, 404, 200, 200]
    assert other.post("/predictions", json={}).status_code == 422


def test_the_same_photo_is_for_everybody_who_asked_about_it(
    asked: str, user: FlaskClient, log_in: Callable[..., FlaskClient], png: Png
) -> None:
    other = log_in("user")
    assert statuses(asked, other) == [404]
    sent: Any = other.post("/predictions", data={"file": (io.BytesIO(png(1)), "same.png")})
    assert sent.json["cached"] is True
    assert statuses(asked, user, other) == [200, 200]


@pytest.mark.parametrize(
    ("values", "expert_status"),
    [
        ({}, 404),
        ({"held_back": "waiting", "split": None, "label_origin": "stated", "entered_pool_at": None}, 200),
        ({"held_back": "suspended", "label_origin": "harvested", "entered_pool_at": None}, 200),
        ({"held_back": "excluded", "entered_pool_at": None}, 404),
    ],
    ids=["in the pool", "waiting", "in doubt", "excluded"],
)
def test_an_expert_sees_what_waits_for_a_word_and_nothing_else_of_the_pool(
    user: FlaskClient, expert: FlaskClient, admin: FlaskClient, ingest: Callable[..., str], values: dict[str, Any],
    expert_status: int,
) -> None:  # fmt: skip
    assert statuses(ingest(7, **values), user, expert, admin) == [404, expert_status, 200]


def test_the_evaluation_set_is_for_admins(
    user: FlaskClient, expert: FlaskClient, admin: FlaskClient, ingest: Callable[..., str]
) -> None:
    assert statuses(ingest(8, "evaluation"), user, expert, admin) == [404, 404, 200]


def test_an_image_that_one_may_not_see_and_one_that_is_not_there_are_told_alike(
    user: FlaskClient, ingest: Callable[..., str]
) -> None:
    answers: list[Any] = [user.get(f"/images/{sha256}").json for sha256 in (ingest(9), "0" * 64)]
    assert [{**answer, "request_id": None} for answer in answers[:1]] == [
        {**answer, "request_id": None} for answer in answers[1:]
    ]
    for malformed in ("0" * 63, "A" * 64, "..%2F..%2Fetc"):
        assert user.get(f"/images/{malformed}").status_code in (404, 422)


def test_bytes_that_are_gone_are_an_outage_that_names_no_place(user: FlaskClient, asked: str, catalog: Catalog) -> None:
    catalog.store.delete(image_key(asked))
    answer: Any = user.get(f"/images/{asked}")
    assert (answer.status_code, answer.json["type"]) == (503, "urn:mycoflow:problem:image-store-unavailable")
    assert asked not in answer.text
    assert "/" not in answer.json["detail"]


def test_what_the_browser_or_the_memory_has_is_not_read_again(
    user: FlaskClient, asked: str, ingest: Callable[..., str], catalog: Catalog, admin: FlaskClient
) -> None:
    user.set_cookie(SESSION_COOKIE, user.environ_base["HTTP_AUTHORIZATION"].removeprefix("Bearer "))
    known = ingest(20)
    photos = [f"/images/{asked}", f"/photos/{asked}/photo", f"/known-photos/{known}"]
    thumbnails = [f"/photos/{asked}/thumbnail", f"/known/{known}/thumbnail"]
    tags = {path: user.get(path).headers["ETag"] for path in (*photos, *thumbnails)}
    for sha256 in (asked, known):
        catalog.store.delete(image_key(sha256))
    for path, tag in tags.items():
        assert user.get(path, headers={"If-None-Match": tag}).status_code == 304
        assert user.get(path).status_code == (503 if path in photos else 200)
    assert user.delete(f"/images/{asked}").status_code == 204
    for path in (*photos[:2], thumbnails[0]):  # the right goes before the tag
        assert user.get(path, headers={"If-None-Match": tags[path]}).status_code == 404


def test_one_erases_one_s_own_photo(user: FlaskClient, admin: FlaskClient, asked: str, post: Post, png: Png) -> None:
    assert user.delete(f"/images/{asked}").status_code == 204
    assert statuses(asked, user, admin) == [404, 404]
    assert user.delete(f"/images/{asked}").status_code == 404
    data: Any = user.get("/user/data").json
    assert data["predictions"] == []
    assert post(png(1)).status_code == 200  # sent again, it is stored again
    assert statuses(asked, user) == [200]


def test_an_erased_photo_leaves_no_thumbnail_in_memory(
    user: FlaskClient, asked: str, catalog: Catalog, post: Post, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []
    shrink = DecoderProcess.shrink
    monkeypatch.setattr(DecoderProcess, "shrink", lambda *sent: made.append(sent[1]) or shrink(*sent))

    def show() -> int:
        assert user.get(f"/photos/{asked}/thumbnail").status_code == 200
        return len(made)

    user.set_cookie(SESSION_COOKIE, user.environ_base["HTTP_AUTHORIZATION"].removeprefix("Bearer "))
    assert (show(), show()) == (1, 1)
    with monkeypatch.context() as broken:  # the photo is erased at once, its bytes later
        broken.setattr(type(catalog.store), "delete", Mock(side_effect=ImageStoreError("down")))
        assert user.delete(f"/images/{asked}").status_code == 503
    assert user.delete(f"/images/{asked}").status_code == 204
    assert post(png(1)).status_code == 200
    assert show() == 2


def test_nobody_erases_somebody_else_s_photo(
    client: FlaskClient, log_in: Callable[..., FlaskClient], expert: FlaskClient, admin: FlaskClient, asked: str,
    user: FlaskClient,
) -> None:  # fmt: skip
    others = [client, log_in("user"), expert, admin]
    assert [each.delete(f"/images/{asked}").status_code for each in others] == [401, 404, 404, 404]
    assert [user.delete(f"/images/{each}").status_code for each in ("0" * 64, "no-hash")] == [404, 422]
    assert statuses(asked, user) == [200]


def test_a_photo_that_another_sent_too_stays_for_that_person(
    user: FlaskClient, log_in: Callable[..., FlaskClient], asked: str, png: Png
) -> None:
    other = log_in("user")
    other.post("/predictions", data={"file": (io.BytesIO(png(1)), "same.png")})
    assert user.delete(f"/images/{asked}").status_code == 204
    assert statuses(asked, user, other) == [404, 200]
    assert other.delete(f"/images/{asked}").status_code == 204
    assert statuses(asked, other) == [404]


def test_an_admin_changes_nothing_of_an_erased_photo(user: FlaskClient, admin: FlaskClient, asked: str) -> None:
    assert user.delete(f"/images/{asked}").status_code == 204
    change = {"sha256": asked, "action": "relabel", "label": "amanita"}
    assert admin.post("/data/update", json={"changes": [change]}).status_code == 404
    assert admin.get("/data/query?kind=images").json == {"images": [], "next_cursor": None}
    assert len(admin.get("/data/query?kind=predictions").json["predictions"]) == 1  # type: ignore[index]


@pytest.fixture
def indexed(catalog: Catalog) -> Callable[[Sequence[str], int], None]:
    """Gives photos features of the version in service, as a nightly check does."""

    def index(hashes: Sequence[str], feature_count: int) -> None:
        with catalog.begin() as connection:
            (backbone_id,) = connection.scalars(sa.select(features.c.backbone_id).distinct())
            vectors = {
                sha256: np.float32([1, place, *np.zeros(feature_count - 2)]) for place, sha256 in enumerate(hashes)
            }
            save_vectors(connection, backbone_id, vectors)
            index_vectors(connection, backbone_id)

    return index


def test_a_prediction_s_photo_has_similar_photos_that_came_with_the_data(
    user: FlaskClient, log_in: Callable[..., FlaskClient], asked: str, ingest: Callable[..., str], catalog: Catalog,
    indexed: Callable[[Sequence[str], int], None], png: Png,
) -> None:  # fmt: skip
    assert user.get(f"/images/{asked}/similar").json == {"photos": []}  # nothing is indexed yet
    known, uploaded = [ingest(seed) for seed in range(20, 28)], ingest(28, source="upload")
    held_out = ingest(29, "evaluation")
    with catalog.begin() as connection:
        add_rights(connection, {known[0]: ("CC BY-SA 4.0", "Ada")})
        count = len(connection.scalars(sa.select(features.c.vector)).first() or b"") // 4
    indexed([uploaded, held_out, *known], count)
    answer: Any = user.get(f"/images/{asked}/similar")
    photos = answer.json["photos"]
    assert len(photos) == 6
    assert {each["sha256"] for each in photos} <= set(known)
    assert {each["label"] for each in photos} == {"amanita"}
    credited = [each for each in photos if each["holder"] is not None]
    assert [(each["licence"], each["holder"]) for each in credited] in ([("CC BY-SA 4.0", "Ada")], [])
    assert user.get(f"/known-photos/{known[0]}").mimetype == "image/png"
    for hidden in (uploaded, held_out, asked, "0" * 64):
        assert user.get(f"/known-photos/{hidden}").status_code == 404
    assert log_in("user").get(f"/images/{asked}/similar").status_code == 404
    assert user.get(f"/images/{known[0]}").status_code == 404  # only beside an answer


def test_without_pgvector_the_row_of_similar_photos_is_empty(
    user: FlaskClient, asked: str, ingest: Callable[..., str], catalog: Catalog,
    indexed: Callable[[Sequence[str], int], None],
) -> None:  # fmt: skip
    indexed([ingest(20)], 3)
    with catalog.begin() as connection:
        connection.execute(sa.text("DROP EXTENSION vector CASCADE"))
    assert user.get(f"/images/{asked}/similar").json == {"photos": []}


def test_a_fine_tuned_model_s_photo_is_compared_by_the_features_of_the_base(
    user: FlaskClient, asked: str, ingest: Callable[..., str], catalog: Catalog,
    write_bundle: Callable[[Path, int], Path], tmp_path: Path, app: Flask, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    network = onnx.load(write_bundle(tmp_path / "base", 9) / "model.onnx")
    for output in [each for each in network.graph.output if each.name != "features"]:
        network.graph.output.remove(output)
    content = network.SerializeToString()
    base = sha256_of(content).hexdigest()
    catalog.store.put(backbone_key(base), content)
    known = [ingest(seed) for seed in range(20, 27)]
    with catalog.begin() as connection:
        (own,) = connection.scalars(sa.select(features.c.backbone_id).distinct())
        sha256, _, preprocessing = own.partition(":")
        for recipe, made, weights in (("base", base, "random:0"), ("tuned", sha256, "finetuned:1")):
            save_backbone(connection, StoredBackbone(recipe, "vgg16", made, made, weights, "fp32", 32, None))
        base_id = f"{base}:{preprocessing}"
        save_vectors(connection, base_id, {each: np.ones(512, np.float32) for each in known})
        index_vectors(connection, base_id)
    admission, decode = application_state.current(app).admission, similar_photos.to_pixels

    def decode_one(*photo: Any) -> Any:
        assert admission.decoding._free == 0
        return decode(*photo)

    monkeypatch.setattr(similar_photos, "to_pixels", decode_one)
    with ExitStack() as held:
        with suppress(BusyError):
            while True:
                held.enter_context(admission.admit())
        assert user.get(f"/images/{asked}/similar").status_code == 503
    answer: Any = user.get(f"/images/{asked}/similar")
    assert answer.status_code == 200, answer.json
    assert {each["sha256"] for each in answer.json["photos"]} <= set(known)
    assert len(answer.json["photos"]) == 6
    with catalog.begin() as connection:
        of_photo = sa.select(features.c.backbone_id).where(features.c.part_sha256 == asked)
        assert set(connection.scalars(of_photo)) == {own, base_id}
