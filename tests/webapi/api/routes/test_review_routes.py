"""The routes of review: read the queues, decide, meet a conflict, undo."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.images.batches import FileOutcome, add_batch
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.reviews.review_queues import QUEUES
from ml.catalog.tables import items
from ml.data.membership import Arrival, wait

IDS = [f"{number:064x}" for number in range(4)]


@pytest.fixture
def batch_id(catalog: Catalog) -> int:
    """A batch of a source: four photos that wait, and a file that was rejected."""
    labels = ["amanita", "amanita", "boletus", "amanita"]
    arrivals = [
        Arrival(ItemRecord("source", ImageRecord(sha256, "image/png", 32, 32, 100)), Annotation((label,)))
        for sha256, label in zip(IDS, labels, strict=True)
    ]
    files = [FileOutcome(f"{sha256}.png", "1", "amanita", "waiting", item_id=sha256) for sha256 in IDS]
    files.append(FileOutcome("broken.png", "1", "amanita", "rejected", "unreadable", "It does not decode."))
    with catalog.begin() as connection:
        wait(connection, arrivals, "source")
        return add_batch(connection, "source", files, False, 0.2)


def entries(client: FlaskClient, path: str = "/reviews/queues/waiting") -> list[Any]:
    answer: Any = client.get(path).json
    found: list[Any] = answer["items"]
    return found


def decision(entry: Any, kind: str = "certify", **values: object) -> dict[str, object]:
    values = values or {"label": entry["label"]}
    return {"item": entry["item"], "queue": "waiting", "seen": entry["seen"], "decision": kind, **values}


def test_the_queues_are_for_those_who_judge(client: FlaskClient, user: FlaskClient, expert: FlaskClient) -> None:
    assert [who.get("/reviews").status_code for who in (client, user, expert)] == [401, 403, 200]
    assert expert.get("/reviews").json == dict.fromkeys(QUEUES, 0)
    assert expert.get("/reviews/queues/everything").status_code == 422


def test_a_queue_is_read_by_class_by_batch_and_page_by_page(expert: FlaskClient, batch_id: int) -> None:
    page: Any = expert.get("/reviews/queues/waiting?limit=3").json
    assert [each["item"] for each in page["items"]] == IDS[:3]
    assert page["counts"] == [{"class_name": "amanita", "count": 3}, {"class_name": "boletus", "count": 1}]
    assert [each["item"] for each in entries(expert, f"/reviews/queues/waiting?cursor={page['next_cursor']}")] == IDS[
        3:
    ]
    assert [each["item"] for each in entries(expert, "/reviews/queues/waiting?class_name=boletus")] == [IDS[2]]
    assert len(entries(expert, f"/reviews/queues/waiting?batch_id={batch_id}")) == 4
    assert entries(expert, f"/reviews/queues/waiting?batch_id={batch_id + 1}") == []
    for wrong in ("cursor=x", "limit=0", "limit=201", "batch_id=x", "unknown=1"):
        assert expert.get(f"/reviews/queues/waiting?{wrong}").status_code == 422


def test_a_batch_shows_its_rejects_with_reasons(expert: FlaskClient, batch_id: int) -> None:
    (batch,) = expert.get("/reviews/batches").json["batches"]  # type: ignore[index]
    assert (batch["id"], batch["waiting"], batch["rejected"], batch["state"]) == (batch_id, 4, 1, "waiting")
    assert expert.get(f"/reviews/batches/{batch_id}/rejects").json == {
        "rejects": [{"name": "broken.png", "reason": "unreadable", "message": "It does not decode."}]
    }
    assert expert.get(f"/reviews/batches/{batch_id + 1}/rejects").status_code == 404


def test_decisions_are_made_told_and_undone(
    expert: FlaskClient, log_in: Callable[..., FlaskClient], batch_id: int, catalog: Catalog
) -> None:
    first, second, third, fourth = entries(expert)
    made: Any = expert.post(
        "/reviews/decisions",
        json={
            "decisions": [
                decision(first),
                decision(second, "correct", label="boletus"),
                decision(third, "reject", reason="blurred"),
            ]
        },
    )
    assert made.status_code == 200, made.json
    assert [each["item"] for each in made.json["decided"]] == IDS[:3]
    other = log_in("expert", "another-expert")
    late: Any = other.post("/reviews/decisions", json={"decisions": [decision(first, "reject", reason="no mushroom")]})
    assert late.status_code == 409
    assert late.json["type"].endswith("review-conflict")
    assert "an-expert certified item 00000000 as 'amanita'" in late.json["detail"]
    both: Any = other.post("/reviews/decisions", json={"decisions": [decision(third), decision(fourth)]})
    assert [each["item"] for each in both.json["decided"]] == [IDS[3]]
    assert "an-expert rejected" in both.json["conflicts"][0]["told"]
    assert entries(expert) == []
    numbers = [each["decision"] for each in made.json["decided"]]
    assert other.post("/reviews/undo", json={"ids": numbers}).status_code == 403
    undone: Any = expert.post("/reviews/undo", json={"ids": numbers}).json
    assert sorted(undone["undone"]) == sorted(numbers)
    assert [each["item"] for each in entries(expert)] == IDS[:3]
    assert expert.post("/reviews/undo", json={"ids": numbers}).status_code == 409
    with catalog.begin() as connection:
        held = dict(connection.execute(sa.select(items.c.id, items.c.held_back)).tuples().all())
    assert held == {**dict.fromkeys(IDS[:3], "waiting"), IDS[3]: None}


def test_decisions_that_cannot_be_read_are_refused(expert: FlaskClient, batch_id: int) -> None:
    first, *_ = entries(expert)
    for wrong in (
        [],
        [decision(first), decision(first)],
        [decision(first, "reject")],
        [decision(first, "correct", label="never heard of")],
        [decision(first) | {"seen": "x"}],
        [decision(first) | {"queue": "all"}],
        [decision(first)] * 51,
    ):
        assert expert.post("/reviews/decisions", json={"decisions": wrong}).status_code == 422, wrong
    unknown = decision(first) | {"item": "f" * 64}
    assert expert.post("/reviews/decisions", json={"decisions": [unknown]}).status_code == 404
    assert expert.post("/reviews/undo", json={"ids": [10**6]}).status_code == 422
    assert len(entries(expert)) == 4
