"""Prediction batches over HTTP: sending, following, reading, cancelling and deleting them."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.catalog.object_store import archive_key
from ml.catalog.tables import accounts, batch_photos, prediction_batches, predictions, results
from ml.serving.loaded_model import MAX_IMAGE_BYTES
from ml.serving.photo_batches.batch_results import COLUMNS
from ml.upkeep.erasing import erase_login
from webapi import application_state
from webapi.access import large_uploads, maintenance_gate

Png = Callable[[int], bytes]
LogIn = Callable[..., FlaskClient]


def make_zip(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def send(client: FlaskClient, content: bytes, name: str = "forest.zip") -> TestResponse:
    return client.post("/prediction-batches", data={"file": (io.BytesIO(content), name)})


@pytest.fixture
def work(app: Flask, serve_version: Callable[[int], None]) -> Callable[[], None]:
    """Lets the service make the predictions that wait."""
    serve_version(1)

    def work_now() -> None:
        while application_state.current(app).batches.work():
            pass

    return work_now


def test_a_zip_is_answered_in_the_background_with_a_row_for_each_file(
    user: FlaskClient, work: Callable[[], None], png: Png
) -> None:
    sent = send(user, make_zip({"a/1.png": png(1), "notes.txt": b"no photo", "2.png": png(2)}))
    assert sent.status_code == 202
    batch: Any = sent.json
    assert sent.headers["Location"] == f"/prediction-batches/{batch['id']}"
    assert (batch["name"], batch["state"], batch["photos"], batch["waiting"]) == ("forest.zip", "working", 3, 3)
    work()
    after: Any = user.get(sent.headers["Location"]).json
    assert (after["state"], after["named"], after["failed"], after["waiting"]) == ("finished", 2, 1, 0)
    listed: Any = user.get("/prediction-batches").json
    assert listed["batches"] == [after]
    photos: Any = user.get(f"{sent.headers['Location']}/photos").json["photos"]  # type: ignore[index]
    assert [photo["file"] for photo in photos] == ["a/1.png", "notes.txt", "2.png"]
    assert [photo["problem"] for photo in photos] == [None, "not-an-image", None]
    for photo, seed in ((photos[0], 1), (photos[2], 2)):
        file = {"file": (io.BytesIO(png(seed)), "photo.png")}
        single: Any = user.post("/predictions", data=file).json
        assert single["cached"]
        assert single["results"] == [{"name": photo["name"], "proba": photo["proba"]}]
        good = user.post(f"/predictions/{photo['prediction_id']}/feedback", json={"verdict": "ok"})
        assert good.status_code == 200


def test_photos_are_filtered_and_paged(user: FlaskClient, work: Callable[[], None], png: Png) -> None:
    place = send(user, make_zip({f"{n}.png": png(n) for n in range(1, 5)} | {"x": b"x"})).headers["Location"]
    work()

    def numbers(query: str) -> list[int]:
        answer: Any = user.get(f"{place}/photos?{query}").json
        return [photo["number"] for photo in answer["photos"]]

    assert numbers("limit=2") == [1, 2]
    assert numbers("limit=2&after=2") == [3, 4]
    assert numbers("shown=failed") == [5]
    assert numbers("shown=named") == [1, 2, 3, 4]
    assert numbers("shown=waiting") == []
    every: Any = user.get(f"{place}/photos").json
    name = every["photos"][0]["name"]
    assert numbers(f"label={name}") == [photo["number"] for photo in every["photos"] if photo["name"] == name]
    assert user.get(f"{place}/photos?shown=nonsense").status_code == 422


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t=", "\uff1d", " ="])
def test_no_cell_of_the_csv_is_a_formula(
    user: FlaskClient, work: Callable[[], None], catalog: Catalog, png: Png, sign: str
) -> None:
    name = f'{sign}HYPERLINK("http://evil.example","x"),;\n.png'
    place = send(user, make_zip({"1.png": png(1), "2.png": b"x"}), f"{sign}cmd.zip").headers["Location"]
    work()
    with catalog.begin() as connection:
        connection.execute(sa.update(batch_photos).values(name=name))
        connection.execute(sa.update(results).values(top_class=name))
    answer = user.get(f"{place}/photos.csv")
    assert answer.mimetype == "text/csv"
    assert "attachment" in answer.headers["Content-Disposition"]
    head, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert tuple(head) == COLUMNS
    assert [row[0] for row in rows] == ["1", "2"]
    for row in rows:
        assert row[1] == f"'{name}"
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\uff1d", " =")) for cell in row)
    assert rows[0][4] == f"'{name}"
    assert 0 < float(rows[0][5]) <= 100


def test_addresses_are_taken_as_json(user: FlaskClient, work: Callable[[], None]) -> None:
    sent = user.post("/prediction-batches", json={"urls": ["http://127.0.0.1/a.png", "nonsense"]})
    assert sent.status_code == 202
    work()
    photos: Any = user.get(f"{sent.headers['Location']}/photos").json
    assert [(photo["file"], photo["problem"]) for photo in photos["photos"]] == [
        ("http://127.0.0.1/a.png", "target-refused"),
        ("nonsense", "target-refused"),
    ]


@pytest.mark.parametrize(
    "body",
    [{}, {"urls": []}, {"urls": "http://example.org"}, {"urls": [1]}, {"urls": ["x"] * 1001}, {"urls": ["x"], "a": 1},
     {"urls": ["x" * 5000]}, [], None],
)  # fmt: skip
def test_wrong_lists_are_refused(user: FlaskClient, body: object) -> None:
    answer = user.post("/prediction-batches", data=json.dumps(body), content_type="application/json")
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        (b"no ZIP", 415, "not-a-zip"),
        (b"", 415, "not-a-zip"),
        (make_zip({}), 422, "no-photos"),
        (make_zip({f"{number}": b"" for number in range(1001)}), 422, "too-many-photos"),
    ],
)
def test_what_is_no_zip_of_photos_is_refused_as_a_whole(
    user: FlaskClient, catalog: Catalog, content: bytes, status: int, kind: str
) -> None:
    answer = send(user, content)
    problem: Any = answer.json
    assert (answer.status_code, problem["type"]) == (status, f"urn:mycoflow:problem:{kind}")
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(prediction_batches)) == 0


def test_a_request_without_a_file_says_what_is_missing(user: FlaskClient) -> None:
    for answer in (user.post("/prediction-batches"), user.post("/prediction-batches", data={"file": "text"})):
        assert answer.status_code == 422
    assert user.post("/prediction-batches", data={"other": (io.BytesIO(b"x"), "a.zip")}).status_code == 422


def test_only_this_route_takes_more_than_a_photo_and_keeps_it_on_disk(
    user: FlaskClient, app: Flask, catalog: Catalog, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = make_zip({"1.png": png(1), "2.png": bytes(2 * MAX_IMAGE_BYTES)})
    streams = []
    take = large_uploads.TemporaryFile
    monkeypatch.setattr(large_uploads, "TemporaryFile", lambda dir: streams.append(dir) or take(dir=dir))
    assert send(user, large).status_code == 202
    assert streams == [application_state.current(app).settings.mycoflow_home / "uploads"]
    assert list(streams[0].iterdir()) == []
    assert user.post("/predictions", data={"file": (io.BytesIO(large), "a.png")}).status_code == 413
    assert len(streams) == 1


def test_a_zip_above_the_limit_is_refused_before_it_is_read(
    user: FlaskClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = user.post(
        "/prediction-batches",
        input_stream=io.BytesIO(b"x"),
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"CONTENT_LENGTH": str(5 * 1024**3)},
    )
    assert answer.status_code == 413


def test_an_account_sends_one_zip_at_a_time(app: Flask, user: FlaskClient, catalog: Catalog, png: Png) -> None:
    with catalog.begin() as connection:
        account_id = connection.execute(sa.select(accounts.c.id).where(accounts.c.login == "a-user")).scalar_one()
    with app.extensions["mycoflow-uploads"].hold(account_id):
        assert send(user, make_zip({"1.png": png(1)})).status_code == 429
    assert send(user, make_zip({"1.png": png(1)})).status_code == 202


def test_two_batches_of_an_account_may_be_under_way(user: FlaskClient, expert: FlaskClient, png: Png) -> None:
    for _ in range(2):
        last = send(user, make_zip({"1.png": png(1)}))
    refused = send(user, make_zip({"1.png": png(1)}))
    assert refused.status_code == 409
    assert send(expert, make_zip({"1.png": png(1)})).status_code == 202
    assert user.post(f"{last.headers['Location']}/cancel").status_code == 200
    assert send(user, make_zip({"1.png": png(1)})).status_code == 202


def test_cancelling_keeps_the_answers_and_skips_the_rest(
    user: FlaskClient, app: Flask, work: Callable[[], None], catalog: Catalog, png: Png
) -> None:
    place = send(user, make_zip({f"{number}.png": png(number) for number in range(1, 4)})).headers["Location"]
    with catalog.begin() as connection:
        connection.execute(sa.update(batch_photos).where(batch_photos.c.number == 1).values(state="named"))
    cancelled: Any = user.post(f"{place}/cancel").json
    assert (cancelled["state"], cancelled["named"], cancelled["skipped"], cancelled["waiting"]) == (
        "cancelled",
        1,
        2,
        0,
    )
    work()
    assert not catalog.store.exists(archive_key(cancelled["id"]))
    again: Any = user.post(f"{place}/cancel").json
    assert (again["state"], again["skipped"]) == ("cancelled", 2)
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(predictions)) == 0


def test_cancelling_a_finished_batch_changes_nothing(user: FlaskClient, work: Callable[[], None], png: Png) -> None:
    place = send(user, make_zip({"1.png": png(1)})).headers["Location"]
    work()
    assert user.post(f"{place}/cancel").json == user.get(place).json
    after: Any = user.get(place).json
    assert after["state"] == "finished"


def test_deleting_a_batch_deletes_its_zip_and_keeps_its_predictions(
    user: FlaskClient, work: Callable[[], None], catalog: Catalog, png: Png
) -> None:
    done = send(user, make_zip({"1.png": png(1)})).headers["Location"]
    work()
    waiting = send(user, make_zip({"2.png": png(2)})).headers["Location"]
    for place in (done, waiting):
        assert user.delete(place).status_code == 204
        assert user.get(place).status_code == 404
        assert not catalog.store.exists(archive_key(int(place.rpartition("/")[2])))
    work()
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(predictions)) == 1


def test_others_do_not_see_a_batch_and_an_admin_does(
    user: FlaskClient, expert: FlaskClient, admin: FlaskClient, log_in: LogIn, png: Png
) -> None:
    place = send(user, make_zip({"1.png": png(1)})).headers["Location"]
    for other in (expert, log_in("user")):
        for path in (place, f"{place}/photos", f"{place}/photos.csv"):
            assert other.get(path).status_code == 404
        assert other.post(f"{place}/cancel").status_code == 404
        assert other.delete(place).status_code == 404
        listed: Any = other.get("/prediction-batches").json
        assert listed == {"batches": []}
    assert admin.get(f"{place}/photos.csv").status_code == 200
    assert user.get(place).status_code == 200


def test_maintenance_refuses_new_batches(user: FlaskClient, app: Flask, png: Png) -> None:
    with app.test_request_context():
        maintenance_gate.current().switch(True, "the test")
    assert send(user, make_zip({"1.png": png(1)})).status_code == 503


def test_erasing_a_photo_takes_its_name_out_of_the_batch(user: FlaskClient, work: Callable[[], None], png: Png) -> None:
    place = send(user, make_zip({"me at home.png": png(1), "2.png": png(2)})).headers["Location"]
    work()
    before: Any = user.get(f"{place}/photos").json
    assert user.delete(f"/images/{before['photos'][0]['image_sha256']}").status_code == 204
    after: Any = user.get(f"{place}/photos").json
    assert (after["photos"][0]["state"], after["photos"][0]["file"], after["photos"][0]["name"]) == ("erased", "", None)
    assert after["photos"][1] == before["photos"][1]


def test_erasing_an_account_takes_its_batches_and_zips(
    user: FlaskClient, catalog: Catalog, add_account: Callable[[str, Role], Account], png: Png
) -> None:
    add_account("bob", "admin")
    place = send(user, make_zip({"1.png": png(1)})).headers["Location"]
    erase_login(catalog, "a-user", "the test")
    assert not catalog.store.exists(archive_key(int(place.rpartition("/")[2])))
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(prediction_batches)) == 0
        assert connection.scalar(sa.select(sa.func.count()).select_from(batch_photos)) == 0


def test_the_export_of_ones_data_has_the_batches(user: FlaskClient, work: Callable[[], None], png: Png) -> None:
    send(user, make_zip({"1.png": png(1)}))
    work()
    data: Any = user.get("/user/data").json
    (batch,) = data["prediction_batches"]
    (photo,) = data["batch_photos"]
    assert (batch["name"], photo["name"], photo["batch_id"]) == ("forest.zip", "1.png", batch["id"])
    assert photo["prediction_id"] == data["predictions"][0]["id"]
