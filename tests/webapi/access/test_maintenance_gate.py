"""Maintenance mode: who may switch it on, which requests it refuses, and which it still answers."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from ml.catalog.database import Catalog
from ml.catalog.tables import events
from ml.settings import Settings
from webapi import application_state
from webapi.factory import create_app

Post = Callable[..., TestResponse]


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize("method", ["get", "put"])
def test_maintenance_is_for_admins(client: FlaskClient, user: FlaskClient, expert: FlaskClient, method: str) -> None:
    statuses = [getattr(who, method)("/maintenance").status_code for who in (client, user, expert)]
    assert statuses == [401, 403, 403]


def test_predictions_wait_while_maintenance_is_on_and_supervision_goes_on(
    admin: FlaskClient, user: FlaskClient, post: Post, png: Callable[[int], bytes], serve_version: Callable[[int], None]
) -> None:
    serve_version(1)
    assert admin.get("/maintenance").json == {"on": False}
    assert post(png(1)).status_code == 200

    answer = admin.put("/maintenance", json={"on": True})
    assert (answer.status_code, answer.json) == (200, {"on": True})
    refused: Any = post(png(1))
    assert (refused.status_code, refused.json["type"]) == (503, "urn:mycoflow:problem:maintenance")
    assert int(refused.headers["Retry-After"]) > 0
    assert user.get("/predictions?file=http://example.org/a.png").status_code == 503
    assert user.get("/status").json is True
    assert user.get("/user").status_code == 200
    assert admin.get("/past_pred_acc?nb_last_preds=1").status_code == 200
    assert admin.get("/maintenance").json == {"on": True}

    assert admin.put("/maintenance", json={"on": False}).json == {"on": False}
    assert post(png(1)).status_code == 200


@pytest.mark.parametrize("body", [None, {}, {"on": "yes"}, {"on": 1}, {"on": None}, [], True])
def test_only_true_and_false_switch_it(admin: FlaskClient, body: object) -> None:
    assert admin.put("/maintenance", json=body).status_code == 422


def test_the_audit_log_says_who_switched_it(admin: FlaskClient, catalog: Catalog) -> None:
    admin.put("/maintenance", json={"on": True})
    with catalog.begin() as connection:
        row = connection.execute(sa.select(events)).one()
    assert (row.kind, row.detail) == ("maintenance.switched", {"on": True})
    assert row.actor.startswith("account:")


def test_another_replica_follows_within_seconds(
    admin: FlaskClient, settings: Settings, log_in: Callable[..., FlaskClient]
) -> None:
    replica = create_app(settings)
    other = log_in("admin", "other-admin", replica)
    try:
        assert other.get("/maintenance").json == {"on": False}
        admin.put("/maintenance", json={"on": True})
        wait_until(lambda: other.get("/maintenance").json == {"on": True})
        admin.put("/maintenance", json={"on": False})
        wait_until(lambda: other.get("/maintenance").json == {"on": False})
    finally:
        application_state.current(replica).stop()


def test_the_database_is_asked_at_most_once_a_second(app: Flask, admin: FlaskClient) -> None:
    asked = []
    engine = application_state.current(app).database.catalog().engine
    sa.event.listen(
        engine, "before_cursor_execute", lambda *event: asked.append(event[2]) if "maintenance" in event[2] else None
    )
    began = time.monotonic()
    for _ in range(10):
        admin.get("/maintenance")
    assert 1 <= len(asked) <= 1 + (time.monotonic() - began)


def test_an_outage_of_the_database_neither_starts_nor_ends_maintenance(
    settings: Settings, free_port: Callable[[], int]
) -> None:
    nowhere = SecretStr(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    cut_off = create_app(settings.model_copy(update={"database_url": nowhere}))
    with cut_off.test_request_context():
        from webapi.access import maintenance_gate

        assert maintenance_gate.current().is_on() is False
        maintenance_gate.refuse_in_maintenance()
