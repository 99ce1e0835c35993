"""The images, looked through and put right over HTTP."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from ml.catalog.database import Catalog
from ml.catalog.tables import annotations, events, items
from tests.ml.image_rows import add_item


def sha256_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture
def add_images(catalog: Catalog) -> Callable[..., list[str]]:
    """Writes rows of images; another number, another image."""

    def add(numbers: range, **values: object) -> list[str]:
        common = {
            "split": "pool",
            "class_names": ["amanita"],
            "label_origin": "curated",
            "entered_pool_at": sa.func.clock_timestamp(),
        }
        hashes = [sha256_of(number) for number in numbers]
        with catalog.begin() as connection:
            for sha256 in hashes:
                add_item(connection, sha256, **common | values)
        return hashes

    return add


def test_data_is_looked_through_by_experts_and_put_right_by_admins(
    client: FlaskClient, user: FlaskClient, expert: FlaskClient
) -> None:
    assert [who.get("/data/query").status_code for who in (client, user, expert)] == [401, 403, 200]
    assert [who.post("/data/update").status_code for who in (client, user, expert)] == [401, 403, 403]


def test_an_expert_finds_what_waits_and_not_the_rest_of_the_pool(
    expert: FlaskClient, add_images: Callable[..., list[str]]
) -> None:
    add_images(range(3))
    no_longer_used = {"split": None, "entered_pool_at": None}
    waiting = add_images(range(3, 5), **no_longer_used, label_origin="stated", held_back="waiting")
    add_images(range(5, 7), **no_longer_used, held_back="excluded")
    body: Any = expert.get("/data/query").json
    assert [image["sha256"] for image in body["images"]] == waiting[::-1]


def test_a_query_shows_what_is_known_of_an_image(admin: FlaskClient, add_images: Callable[..., list[str]]) -> None:
    (sha256,) = add_images(range(1))
    answer = admin.get("/data/query?label=amanita&origin=curated&split=pool&limit=1")
    assert answer.status_code == 200
    body: Any = answer.json
    (image,) = body["images"]
    assert image.pop("received_at").endswith("Z")
    assert image.pop("entered_pool_at").endswith("Z")
    assert image == {
        "sha256": sha256,
        "label": "amanita",
        "label_origin": "curated",
        "split": "pool",
        "evaluation_part": None,
        "held_back": None,
        "source": "test",
        "width": 48,
        "height": 40,
    }
    assert body["next_cursor"] is None


def test_the_cursor_of_a_page_leads_to_the_next(admin: FlaskClient, add_images: Callable[..., list[str]]) -> None:
    added = add_images(range(5))
    seen: list[str] = []
    query: dict[str, str] | None = {"limit": "2"}
    while query:
        body: Any = admin.get("/data/query", query_string=query).json
        seen += [image["sha256"] for image in body["images"]]
        query = {"limit": "2", "cursor": body["next_cursor"]} if body["next_cursor"] else None
    assert seen == added[::-1]


def test_times_bound_a_query_from_both_sides(admin: FlaskClient, add_images: Callable[..., list[str]]) -> None:
    for day in (1, 2, 3):
        add_images(range(day, day + 1), received_at=f"2026-01-0{day}T12:00:00+00:00")
    bounds = {"received_from": "2026-01-01T13:00:00+01:00", "received_before": "2026-01-03T12:00:00Z"}
    body: Any = admin.get("/data/query", query_string=bounds).json
    assert [image["sha256"] for image in body["images"]] == [sha256_of(2), sha256_of(1)]


def test_a_zone_that_postgresql_does_not_know_is_understood(
    admin: FlaskClient, add_images: Callable[..., list[str]]
) -> None:
    (sha256,) = add_images(range(1), received_at="2026-01-01T12:00:00+00:00")
    bounds = {"received_from": "2026-01-02T07:00:00+19:00", "received_before": "2025-12-31T17:00:01-19:00"}
    body: Any = admin.get("/data/query", query_string=bounds).json
    assert [image["sha256"] for image in body["images"]] == [sha256]
    key = json.dumps(["2026-01-02T07:00:01+19:00", sha256]).encode()
    body = admin.get("/data/query", query_string={"cursor": base64.urlsafe_b64encode(key).decode().rstrip("=")}).json
    assert [image["sha256"] for image in body["images"]] == [sha256]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=501", "limit=ten", "limit=1_0", "limit=²", "origin=guessed", "split=train", "held_back=no",
        "received_from=2026-01-01T00:00:00", "received_before=soon", "received_before=0.5",
        "received_before=0001-01-01T00:00:00%2B19:00",
        "cursor=nonsense", "cursor=%00", "label=%00",
    ],
)  # fmt: skip
def test_a_query_that_means_nothing_is_refused(admin: FlaskClient, query: str) -> None:
    answer: Any = admin.get(f"/data/query?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json["detail"]


def test_a_list_of_changes_is_made_and_each_is_in_the_audit_log(
    admin: FlaskClient, add_images: Callable[..., list[str]], catalog: Catalog
) -> None:
    (certified,) = add_images(range(1), label_origin="harvested")
    relabelled, excluded = add_images(range(1, 3))
    changes = [
        {"action": "certify", "sha256": certified},
        {"action": "relabel", "sha256": relabelled, "label": "boletus"},
        {"action": "exclude", "sha256": excluded},
        {"action": "exclude", "sha256": excluded},
    ]
    answer: Any = admin.post("/data/update", json={"changes": changes})
    assert answer.status_code == 200
    done = answer.json["changes"]
    assert [(each["action"], each["sha256"]) for each in done] == [(each["action"], each["sha256"]) for each in changes]
    assert [each["is_changed"] for each in done] == [True, True, True, False]
    assert done[0]["after"]["label_origin"] == "confirmed"
    assert (done[1]["before"]["label"], done[1]["after"]["label"]) == ("amanita", "boletus")
    assert done[2]["after"]["held_back"] == "excluded"
    with catalog.begin() as connection:
        logged = connection.execute(sa.select(events).where(events.c.kind.startswith("data.")).order_by(events.c.id))
        rows = logged.all()
        said_by = set(connection.scalars(sa.select(annotations.c.said_by)))
    assert [(row.kind, row.detail["before"], row.detail["after"]) for row in rows] == [
        (f"data.{each['action']}", each["before"], each["after"]) for each in done[:3]
    ]
    assert {row.actor for row in rows} == said_by
    assert all(row.actor.startswith("account:") for row in rows)


def test_one_unknown_image_refuses_the_whole_list_and_is_named(
    admin: FlaskClient, add_images: Callable[..., list[str]], catalog: Catalog
) -> None:
    (known,) = add_images(range(1))
    changes = [{"action": "exclude", "sha256": known}, {"action": "exclude", "sha256": sha256_of(99)}]
    answer: Any = admin.post("/data/update", json={"changes": changes})
    assert answer.status_code == 404
    assert sha256_of(99) in answer.json["detail"]
    assert known not in answer.json["detail"]
    with catalog.begin() as connection:
        assert connection.execute(sa.select(items.c.held_back)).scalar_one() is None


def test_what_has_no_label_cannot_be_certified(admin: FlaskClient, add_images: Callable[..., list[str]]) -> None:
    (sha256,) = add_images(range(1), split=None, class_names=None, label_origin=None, entered_pool_at=None)
    answer: Any = admin.post("/data/update", json={"changes": [{"action": "certify", "sha256": sha256}]})
    assert answer.status_code == 409
    assert sha256 in answer.json["detail"]


CERTIFY = {"action": "certify", "sha256": "0" * 64}


@pytest.mark.parametrize(
    "body",
    [
        None, [], {}, {"changes": []}, {"changes": [{}]}, {"changes": "all"}, {"changes": [CERTIFY], "more": 1},
        {"changes": [{"action": "move", "sha256": "0" * 64}]}, {"changes": [{**CERTIFY, "sha256": "0" * 63}]},
        {"changes": [{**CERTIFY, "sha256": "A" * 64}]}, {"changes": [{**CERTIFY, "label": "boletus"}]},
        {"changes": [{"action": "relabel", "sha256": "0" * 64}]},
        {"changes": [{"action": "relabel", "sha256": "0" * 64, "label": "a\0b"}]},
        {"changes": [CERTIFY] * 501},
    ],
    ids=str,
)  # fmt: skip
def test_changes_that_mean_nothing_are_refused(admin: FlaskClient, body: object) -> None:
    assert admin.post("/data/update", json=body).status_code == 422


def test_500_changes_are_made_in_one_request(admin: FlaskClient, add_images: Callable[..., list[str]]) -> None:
    hashes = add_images(range(500))
    changes = [{"action": "relabel", "sha256": sha256, "label": "boletus"} for sha256 in hashes]
    answer: Any = admin.post("/data/update", json={"changes": changes})
    assert answer.status_code == 200
    assert all(each["is_changed"] for each in answer.json["changes"])


def test_images_that_wait_are_found_and_certified_together(
    admin: FlaskClient, add_images: Callable[..., list[str]], catalog: Catalog
) -> None:
    waiting = {"split": None, "entered_pool_at": None, "label_origin": "stated", "held_back": "waiting"}
    added = add_images(range(12), **waiting)
    found: Any = admin.get("/data/query?held_back=waiting&origin=stated").json
    assert sorted(image["sha256"] for image in found["images"]) == sorted(added)
    changes = [{"action": "certify", "sha256": sha256} for sha256 in added]
    answer = admin.post("/data/update", json={"changes": changes})
    assert answer.status_code == 200
    with catalog.begin() as connection:
        rows = connection.execute(sa.select(items.c.split, items.c.label_origin, items.c.held_back)).all()
    assert {tuple(row[1:]) for row in rows} == {("confirmed", None)}
    assert {row.split for row in rows} == {"pool", "evaluation"}  # a fifth is held out
