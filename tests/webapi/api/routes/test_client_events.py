"""What clients report."""

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from ml.catalog.database import Catalog
from ml.catalog.tables import events
from webapi import application_state

JSON = "application/json"


def test_an_event_is_kept_in_the_name_of_who_reports_it(user: FlaskClient, catalog: Catalog) -> None:
    detail = {"screen": "upload", "milliseconds": 1234.5, "steps": ["a", {"b": None}], "text": "é 🍄"}
    answer: Any = user.post("/logs/write", json={"kind": "upload.slow", "detail": detail})
    assert answer.status_code == 201
    with catalog.begin() as connection:
        row = connection.execute(sa.select(events)).one()
    assert (row.id, row.kind, row.detail) == (answer.json["id"], "client:upload.slow", detail)
    assert row.actor.startswith("account:")


def test_events_are_for_accounts_of_every_role(client: FlaskClient, expert: FlaskClient, admin: FlaskClient) -> None:
    event = {"kind": "opened", "detail": {}}
    assert [who.post("/logs/write", json=event).status_code for who in (client, expert, admin)] == [401, 201, 201]


@pytest.mark.parametrize("size", [16 * 1024, 16 * 1024 + 1, 1_000_000])
def test_an_event_has_at_most_16_kilobytes(user: FlaskClient, size: int) -> None:
    empty = '{"kind": "long", "detail": {"text": ""}}'
    body = empty.replace('""', f'"{"x" * (size - len(empty))}"')
    assert len(body) == size
    answer: Any = user.post("/logs/write", data=body, content_type=JSON)
    assert answer.status_code == (201 if size <= 16 * 1024 else 413)
    if answer.status_code == 413:
        assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        "", "nonsense", "null", "[]", "{}", '{"kind": "a"}', '{"detail": {}}', '{"kind": "a", "detail": []}',
        '{"kind": "a", "detail": "text"}', '{"kind": "client:a", "detail": {}}', '{"kind": "", "detail": {}}',
        '{"kind": "A", "detail": {}}', '{"kind": "a\\n", "detail": {}}', f'{{"kind": "{"a" * 65}", "detail": {{}}}}',
        '{"kind": "a", "detail": {"n": NaN}}', '{"kind": "a", "detail": {"n": 1e999}}',
        '{"kind": "a", "detail": {"n": "\\u0000"}}', '{"kind": "a", "detail": {"\\ud800": 1}}',
        f'{{"kind": "a", "detail": {{"n": {"9" * 5000}}}}}',
        f'{{"kind": "a", "detail": {{"n": {"[" * 20}{"]" * 20}}}}}',
        f'{{"kind": "a", "detail": {{"n": {"[" * 8000}{"]" * 8000}}}}}',
    ],
    ids=lambda body: body[:40],
)  # fmt: skip
def test_what_is_no_event_is_refused_and_not_kept(user: FlaskClient, catalog: Catalog, body: str) -> None:
    answer = user.post("/logs/write", data=body, content_type=JSON)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    with catalog.begin() as connection:
        assert connection.execute(sa.select(events)).first() is None


def test_an_event_may_be_nested_20_levels_deep(user: FlaskClient) -> None:
    body = f'{{"kind": "a", "detail": {{"n": {"[" * 19}{"]" * 19}}}}}'
    assert user.post("/logs/write", data=body, content_type=JSON).status_code == 201


def test_an_account_stores_no_more_events_than_its_quota(
    app: Flask, user: FlaskClient, expert: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = application_state.current(app)
    bounded = current.settings.model_copy(update={"quota_events": 2})
    monkeypatch.setitem(app.extensions, "mycoflow", replace(current, settings=bounded))
    event = {"kind": "opened", "detail": {}}
    answers: list[Any] = [user.post("/logs/write", json=event) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 403]
    assert answers[-1].json["type"] == "urn:mycoflow:problem:quota-exceeded"
    assert expert.post("/logs/write", json=event).status_code == 201
