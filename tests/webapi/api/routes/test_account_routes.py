"""One's own account and data."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from ml.catalog.accounts import personal_data
from ml.catalog.database import Catalog
from ml.catalog.logs.events import write_event
from ml.catalog.tables import (
    accounts,
    annotations,
    events,
    feedback,
    predictions,
    promotions,
    review_decisions,
    tokens,
)
from webapi.api.routes.account_routes import PersonalData

LogIn = Callable[..., FlaskClient]
Post = Callable[..., Any]


def rows(catalog: Catalog, table: sa.Table) -> list[Any]:
    with catalog.begin() as connection:
        return list(connection.execute(sa.select(table)).all())


@pytest.fixture
def history(user: FlaskClient, catalog: Catalog, post: Post, serve_version: Any, png: Callable[[int], bytes]) -> None:
    """The user asked for three predictions, said something of the first, labelled its image, and left an event."""
    serve_version(1)
    for number in range(3):
        assert post(png(number)).status_code == 200
    account_id = rows(catalog, accounts)[0].id
    first = rows(catalog, predictions)[0]
    with catalog.begin() as connection:
        said = {"prediction_id": first.id, "account_id": account_id, "verdict": "nok", "corrected_label": "boletus"}
        connection.execute(sa.insert(feedback).values(**said))
        typed = {"corrected_label": None, "instead": "other", "proposed_name": "a new one"}
        connection.execute(sa.insert(feedback).values(**said | typed))
        image = connection.execute(sa.text("SELECT id FROM training.items LIMIT 1")).scalar_one()
        label = {
            "item_id": image,
            "class_names": ["boletus"],
            "origin": "confirmed",
            "said_by": f"account:{account_id}",
        }
        connection.execute(sa.insert(annotations).values(**label))
        decided = {"item_id": image, "queue": "waiting", "account_id": account_id, "changes": [{"id": image}]}
        for decision in ({"decision": "reject", "reason": "blurred"}, {"decision": "correct", "class_name": "boletus"}):
            connection.execute(sa.insert(review_decisions).values(**decided, **decision))
        moved = {"kind": "promotion", "to_version": 1, "actor": f"account:{account_id}", "reason": "better"}
        connection.execute(sa.insert(promotions).values(**moved))
        write_event(connection, "client:clicked", f"account:{account_id}", {"where": "here"})


@pytest.mark.usefixtures("history")
def test_one_gets_all_of_one_s_own_data_and_nobody_else_s(
    user: FlaskClient, expert: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(personal_data, "_PAGE_SIZE", 2)
    answer = user.get("/user/data")
    assert answer.status_code == 200
    data = PersonalData.model_validate_json(answer.text)
    assert (data.account.login, data.account.role) == ("a-user", "user")
    assert len({prediction.id for prediction in data.predictions}) == 3
    said = [(item.corrected_label, item.instead, item.proposed_name) for item in data.feedback]
    assert said == [("boletus", None, None), (None, "other", "a new one")]
    assert [(item.decision, item.label, item.reason) for item in data.decisions] == [
        ("reject", None, "blurred"), ("correct", "boletus", None)
    ]  # fmt: skip
    assert {item.image_sha256 for item in data.photos} == {item.image_sha256 for item in data.predictions}
    assert len(data.photos) == 3
    assert {item.image_sha256 for item in data.harvests} == {item.image_sha256 for item in data.predictions}
    assert [item.reason for item in data.promotions] == ["better"]
    assert [item.label for item in data.labels] == ["boletus"]
    assert [(item.kind, item.detail) for item in data.events] == [("client:clicked", {"where": "here"})]
    assert len(data.tokens) == 1
    assert "argon2" not in answer.text

    theirs = PersonalData.model_validate_json(expert.get("/user/data").text)
    assert [name for name, rows in theirs if rows] == ["account", "tokens"]


@pytest.mark.usefixtures("history")
def test_an_erased_account_leaves_its_predictions_to_nobody(user: FlaskClient, catalog: Catalog) -> None:
    assert user.delete("/user").status_code == 204
    assert user.get("/user").status_code == 401
    assert (rows(catalog, accounts), rows(catalog, tokens)) == ([], [])
    assert [row.account_id for row in rows(catalog, predictions)] == [None] * 3
    assert [(row.account_id, row.proposed_name) for row in rows(catalog, feedback)] == [(None, None)] * 2
    assert "account.erased" in {row.kind for row in rows(catalog, events)}
    assert "a-user" not in str(rows(catalog, events))


def test_the_last_admin_stays(admin: FlaskClient, log_in: LogIn, catalog: Catalog) -> None:
    answer = admin.delete("/user")
    assert (answer.status_code, (answer.json or {})["type"]) == (409, "urn:mycoflow:problem:last-admin")
    assert admin.get("/user").status_code == 200
    second = log_in("admin")
    assert admin.delete("/user").status_code == 204
    assert second.delete("/user").status_code == 409
    assert len(rows(catalog, accounts)) == 1


def test_a_disabled_admin_is_none(admin: FlaskClient, log_in: LogIn, catalog: Catalog) -> None:
    log_in("admin", "gone")
    with catalog.begin() as connection:
        disabled = {"disabled_at": sa.func.clock_timestamp()}
        connection.execute(sa.update(accounts).where(accounts.c.login == "gone").values(**disabled))
    assert admin.delete("/user").status_code == 409


def test_two_admins_who_go_at_once_leave_one(log_in: LogIn, catalog: Catalog) -> None:
    clients = [log_in("admin") for _ in range(2)]
    barrier = threading.Barrier(2)

    def go(client: FlaskClient) -> int:
        barrier.wait()
        return client.delete("/user").status_code

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(go, clients)) == [204, 409]
    assert len(rows(catalog, accounts)) == 1
