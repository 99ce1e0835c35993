"""Predictions, feedback and the audit log, looked through over HTTP."""

from collections.abc import Callable
from hashlib import sha256 as sha256_of
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ml.catalog.database import Catalog
from ml.catalog.tables import predictions

CLASSES = ["amanita", "boletus", "cantharellus", "russula"]
Png = Callable[[int], bytes]
Post = Callable[..., TestResponse]


@pytest.fixture
def lived(
    serve_version: Callable[[int], None], post: Post, png: Png, user: FlaskClient, expert: FlaskClient
) -> list[dict[str, Any]]:
    """A user asked about two photos, one of them twice; the user said OK to the first, an expert NOK to the second."""
    serve_version(1)
    answers: list[Any] = [post(png(seed), nb_preds="4").json for seed in (1, 2, 1)]
    assert user.post(f"/predictions/{answers[0]['id']}/feedback", json={"verdict": "ok"}).status_code == 200
    other = next(name for name in CLASSES if name != answers[1]["results"][0]["name"])
    corrected = {"verdict": "nok", "corrected_label": other}
    assert expert.post(f"/predictions/{answers[1]['id']}/feedback", json=corrected).status_code == 200
    assert user.post("/logs/write", json={"kind": "opened", "detail": {"page": 1}}).status_code == 201
    return answers


def ask(client: FlaskClient, kind: str, **filters: object) -> Any:
    answer: Any = client.get("/data/query", query_string={"kind": kind, **filters})
    assert answer.status_code == 200, answer.json
    return answer.json


def ids(page: Any, kind: str) -> list[int]:
    return [row["id"] for row in page[kind]]


def test_predictions_say_who_asked_what_and_what_was_answered(
    admin: FlaskClient, lived: list[dict[str, Any]], png: Png
) -> None:
    page = ask(admin, "predictions")
    assert ids(page, "predictions") == [answer["id"] for answer in reversed(lived)]
    (newest, second, _), best = page["predictions"], lived[2]["results"][0]
    assert newest.pop("requested_at").endswith("Z")
    assert newest == {
        "id": lived[2]["id"],
        "login": "a-user",
        "image_sha256": sha256_of(png(1)).hexdigest(),
        "model_version": 1,
        "is_cached": True,
        "name": best["name"],
        "proba": best["proba"],
    }
    assert second["is_cached"] is False


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"login": "a-user"}, [2, 1, 0]),
        ({"login": "nobody"}, []),
        ({"model_version": 1}, [2, 1, 0]),
        ({"model_version": 2}, []),
        ({"sha256": "of the second"}, [1]),
        ({"received_before": "2020-01-01T00:00:00Z"}, []),
        ({"received_from": "2020-01-01T00:00:00Z", "limit": 1}, [2]),
    ],
    ids=str,
)
def test_predictions_are_filtered(
    admin: FlaskClient, lived: list[dict[str, Any]], png: Png, filters: dict[str, Any], expected: list[int]
) -> None:
    if "sha256" in filters:
        filters = {"sha256": sha256_of(png(2)).hexdigest()}
    assert ids(ask(admin, "predictions", **filters), "predictions") == [lived[number]["id"] for number in expected]


def test_feedback_says_who_said_what_of_which_photo(admin: FlaskClient, lived: list[dict[str, Any]], png: Png) -> None:
    nok, ok = ask(admin, "feedback")["feedback"]
    assert (nok["login"], nok["verdict"], nok["prediction_id"]) == ("an-expert", "nok", lived[1]["id"])
    assert (nok["image_sha256"], nok["model_version"]) == (sha256_of(png(2)).hexdigest(), 1)
    assert nok["corrected_label"] in CLASSES
    assert (ok["login"], ok["verdict"], ok["corrected_label"]) == ("a-user", "ok", None)
    for filters, expected in [
        ({"verdict": "nok"}, [nok]),
        ({"login": "a-user"}, [ok]),
        ({"prediction_id": lived[0]["id"]}, [ok]),
        ({"sha256": nok["image_sha256"]}, [nok]),
        ({"model_version": 7}, []),
        ({"received_before": ok["given_at"]}, []),
        ({"received_from": nok["given_at"]}, [nok]),
    ]:
        assert ask(admin, "feedback", **filters)["feedback"] == expected, filters


def test_events_are_told_with_the_name_of_who_did_it(
    admin: FlaskClient, lived: list[dict[str, Any]], user: FlaskClient
) -> None:
    (event,) = ask(admin, "events", event="client:opened")["events"]
    assert (event["kind"], event["login"], event["detail"]) == ("client:opened", "a-user", {"page": 1})
    assert event["actor"].startswith("account:")
    assert ask(admin, "events", login="a-user")["events"] == [event]
    assert ask(admin, "events", login="an-admin")["events"] == []
    assert user.delete("/user").status_code == 204
    erased, anonymous = ask(admin, "events")["events"][:2]
    assert (erased["kind"], erased["login"]) == ("account.erased", None)
    assert (anonymous["id"], anonymous["login"]) == (event["id"], None)
    assert {row["login"] for row in ask(admin, "predictions")["predictions"]} == {None}


@pytest.mark.parametrize("kind", ["predictions", "feedback", "events"])
def test_pages_show_each_row_once_newest_first_whatever_arrives_meanwhile(
    admin: FlaskClient,
    lived: list[dict[str, Any]],
    user: FlaskClient,
    post: Post,
    png: Png,
    catalog: Catalog,
    kind: str,
) -> None:
    with catalog.begin() as connection:  # many at one moment
        connection.execute(sa.update(predictions).values(requested_at=sa.func.now()))
    expected, seen, cursor = ids(ask(admin, kind), kind), [], {}
    while True:
        page = ask(admin, kind, limit=1, **cursor)
        seen += ids(page, kind)
        cursor = {"cursor": page["next_cursor"]}
        if page["next_cursor"] is None:
            break
        prediction: Any = post(png(1)).json
        user.post(f"/predictions/{prediction['id']}/feedback", json={"verdict": "ok"})
        user.post("/logs/write", json={"kind": "more", "detail": {}})
    assert seen == expected


def test_experts_see_what_they_may_judge_and_nobodys_login(
    expert: FlaskClient, admin: FlaskClient, lived: list[dict[str, Any]], png: Png
) -> None:
    assert {image["sha256"] for image in ask(expert, "images")["images"]} == {
        sha256_of(png(seed)).hexdigest() for seed in (1, 2)
    }
    for kind in ("predictions", "feedback"):
        mine, whole = ask(expert, kind)[kind], ask(admin, kind)[kind]
        assert {row["login"] for row in mine} == {None}
        assert [row | {"login": None} for row in whole] == mine
        assert any(row["login"] for row in whole)
    for query in ({"kind": "events"}, {"kind": "predictions", "login": "a-user"}):
        refused: Any = expert.get("/data/query", query_string=query)
        assert (refused.status_code, refused.json["type"]) == (403, "urn:mycoflow:problem:forbidden")


def test_users_look_through_nothing(user: FlaskClient) -> None:
    assert [user.get(f"/data/query?kind={kind}").status_code for kind in ("images", "predictions", "events")] == [
        403
    ] * 3


@pytest.mark.parametrize(
    "query",
    [
        "kind=predictions&label=amanita", "kind=events&verdict=ok", "kind=images&login=ada", "verdict=ok",
        "kind=feedback&event=x", "kind=predictions&prediction_id=1", "kind=feedback&held_back=waiting",
    ],
)  # fmt: skip
def test_a_filter_of_another_kind_is_refused_by_name(admin: FlaskClient, query: str) -> None:
    answer: Any = admin.get(f"/data/query?{query}")
    assert answer.status_code == 422
    name = query.rpartition("&")[2].partition("=")[0]
    assert answer.json["detail"].startswith(f"{name}: expected none with kind=")


@pytest.mark.parametrize(
    "query",
    [
        "kind=people", "kind=feedback&verdict=maybe", "kind=predictions&model_version=one", "kind=predictions&sha256=0",
        "kind=feedback&prediction_id=-1", "kind=events&event=%00", "kind=events&limit=0",
        "kind=events&cursor=WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgImFiIl0",  # of images
        "kind=events&cursor=WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgMTg0NDY3NDQwNzM3MDk1NTE2MTZd",  # 2 ** 64
        "kind=events&cursor=WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgdHJ1ZV0",  # true
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(admin: FlaskClient, query: str) -> None:
    assert admin.get(f"/data/query?{query}").status_code == 422
