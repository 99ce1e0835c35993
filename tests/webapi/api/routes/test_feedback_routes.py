"""Feedback: who may give it, and what it does to each kind of label."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from ml.catalog.database import Catalog
from ml.catalog.tables import annotations, events, feedback, items, model_versions
from ml.data.membership import is_held_out
from ml.settings import Settings
from webapi import application_state

Clients = dict[str, FlaskClient]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Nothing is harvested but what a test says is."""
    return settings.model_copy(update={"harvest_confidence": 1.0})


@pytest.fixture
def clients(user: FlaskClient, expert: FlaskClient, admin: FlaskClient, log_in: Callable[..., FlaskClient]) -> Clients:
    return {"user": user, "expert": expert, "admin": admin, "stranger": log_in("user", "a-stranger")}


@pytest.fixture
def prediction(
    post: Callable[..., Any], png: Callable[[int], bytes], serve_version: Callable[[int], None], catalog: Catalog
) -> dict[str, Any]:
    """A prediction that the user asked for, of an image that is not held out."""
    serve_version(1)
    for seed in range(100):
        answer: dict[str, Any] = post(png(seed), nb_preds="4").json
        with catalog.begin() as connection:
            (sha256,) = connection.execute(sa.select(items.c.id)).scalars()
            if not is_held_out(sha256):
                return answer
            for table in ("logs.predictions", "logs.results", "training.features", "training.items", "training.images"):
                connection.execute(sa.text(f"DELETE FROM {table}"))
    raise AssertionError("expected one of 100 images not to be held out")


def give(client: FlaskClient, prediction: dict[str, Any], verdict: str, label: str | None = None) -> Any:
    body = {"verdict": verdict} | ({"corrected_label": label} if label else {})
    return client.post(f"/predictions/{prediction['id']}/feedback", json=body)


def names(prediction: dict[str, Any]) -> list[str]:
    return [result["name"] for result in prediction["results"]]


def put_label(catalog: Catalog, label: str, origin: str) -> None:
    with catalog.begin() as connection:
        values = {"split": "pool", "class_names": [label], "label_origin": origin, "entered_pool_at": sa.func.now()}
        connection.execute(sa.update(items).values(values))


def read(catalog: Catalog, table: sa.Table = items) -> Any:
    with catalog.begin() as connection:
        return connection.execute(sa.select(table)).one()


def count(catalog: Catalog, table: sa.Table) -> int:
    with catalog.begin() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


@pytest.mark.parametrize("role", ["expert", "admin"])
@pytest.mark.parametrize("origin", [None, "harvested", "curated", "confirmed"])
def test_a_certifiers_word_becomes_a_confirmed_label(
    role: str, origin: str | None, clients: Clients, prediction: dict[str, Any], catalog: Catalog
) -> None:
    first, second = names(prediction)[:2]
    if origin:
        put_label(catalog, first, origin)
    assert give(clients[role], prediction, "nok", second).json["effect"] == "confirmed"
    image = read(catalog)
    assert (image.split, image.class_names, image.label_origin, image.held_back) == (
        "pool",
        [second],
        "confirmed",
        None,
    )
    assert image.entered_pool_at is not None
    label, event = read(catalog, annotations), read(catalog, events)
    assert (label.class_names, label.origin) == ([second], "confirmed")
    assert label.said_by == event.actor == f"account:{read(catalog, feedback).account_id}"
    assert event.kind == "image.confirmed"


@pytest.mark.parametrize(("origin", "effect"), [("harvested", "confirmed"), ("curated", "recorded")])
def test_a_certifiers_ok_confirms_what_only_the_model_said(
    origin: str, effect: str, clients: Clients, prediction: dict[str, Any], catalog: Catalog
) -> None:
    put_label(catalog, names(prediction)[0], origin)
    assert give(clients["expert"], prediction, "ok").json["effect"] == effect
    assert read(catalog).label_origin == ("confirmed" if origin == "harvested" else "curated")


@pytest.mark.parametrize(("role", "correction"), [("user", None), ("user", 1), ("expert", None)])
def test_a_proposal_suspends_a_harvested_label_until_somebody_certifies_it(
    role: str, correction: int | None, clients: Clients, prediction: dict[str, Any], catalog: Catalog
) -> None:
    predicted = names(prediction)[0]
    put_label(catalog, predicted, "harvested")
    label = names(prediction)[correction] if correction else None
    assert give(clients[role], prediction, "nok", label).json["effect"] == "suspended"
    image = read(catalog)
    assert (image.class_names, image.label_origin, image.held_back) == ([predicted], "harvested", "suspended")
    assert image.entered_pool_at is None
    assert read(catalog, events).kind == "image.suspended"
    assert give(clients[role], prediction, "nok", label).json["effect"] == "recorded"
    assert give(clients["admin"], prediction, "ok").json["effect"] == "confirmed"
    image = read(catalog)
    assert (image.label_origin, image.held_back, image.split) == ("confirmed", None, "pool")
    assert image.entered_pool_at is not None


@pytest.mark.parametrize("origin", ["curated", "confirmed"])
@pytest.mark.parametrize("correction", [None, 1])
def test_a_proposal_never_touches_a_label_of_a_person(
    origin: str, correction: int | None, clients: Clients, prediction: dict[str, Any], catalog: Catalog
) -> None:
    put_label(catalog, names(prediction)[0], origin)
    before = read(catalog)
    label = names(prediction)[correction] if correction else None
    assert give(clients["user"], prediction, "nok", label).json["effect"] == "recorded"
    assert read(catalog) == before
    assert (count(catalog, feedback), count(catalog, annotations), count(catalog, events)) == (1, 0, 0)


def test_a_proposal_gives_no_label_to_an_image_without_one(
    clients: Clients, prediction: dict[str, Any], catalog: Catalog
) -> None:
    assert give(clients["user"], prediction, "nok", names(prediction)[1]).json["effect"] == "recorded"
    assert give(clients["user"], prediction, "ok").json["effect"] == "recorded"
    assert (read(catalog).split, read(catalog).class_names) == (None, None)


def test_agreeing_with_a_harvested_label_leaves_it(
    clients: Clients, prediction: dict[str, Any], catalog: Catalog
) -> None:
    put_label(catalog, names(prediction)[0], "harvested")
    assert give(clients["user"], prediction, "ok").json["effect"] == "recorded"
    assert read(catalog).held_back is None


def test_only_who_asked_and_certifiers_may_say(clients: Clients, prediction: dict[str, Any], catalog: Catalog) -> None:
    assert give(clients["stranger"], prediction, "ok").status_code == 403
    assert count(catalog, feedback) == 0
    assert {role: give(clients[role], prediction, "ok").status_code for role in ("user", "expert", "admin")} == {
        "user": 200,
        "expert": 200,
        "admin": 200,
    }


@pytest.mark.parametrize("prediction_id", [0, 999, 2**63, 10**30])
def test_an_unknown_prediction_is_not_found(prediction_id: int, admin: FlaskClient) -> None:
    assert give(admin, {"id": prediction_id}, "ok").status_code == 404


def test_nobody_known_may_say_nothing(client: FlaskClient, prediction: dict[str, Any]) -> None:
    assert give(client, prediction, "ok").status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"verdict": "perhaps"},
        {"verdict": "ok", "corrected_label": "boletus"},
        {"verdict": "nok", "corrected_label": "a name that nobody ever heard"},
        {"verdict": "nok", "corrected_label": ""},
        {"verdict": "nok", "corrected_label": "\x00"},
        {"verdict": "nok", "corrected_label": "\ud800"},
        {"verdict": "nok", "corrected_label": "x" * 1000},
        {"verdict": "ok", "instead": "none"},
        {"verdict": "nok", "instead": "perhaps"},
        {"verdict": "nok", "instead": "none", "corrected_label": "boletus"},
        {"verdict": "nok", "proposed_name": "inkcap"},
        {"verdict": "nok", "instead": "none", "proposed_name": "inkcap"},
        {"verdict": "nok", "instead": "other", "proposed_name": "a\x07"},
        [],
    ],
)
def test_what_makes_no_sense_is_refused(
    body: object, expert: FlaskClient, prediction: dict[str, Any], catalog: Catalog
) -> None:
    answer = expert.post(f"/predictions/{prediction['id']}/feedback", json=body)
    assert answer.status_code == 422
    assert count(catalog, feedback) == 0


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ({"instead": "none"}, (None, "none", None)),
        ({"instead": "unsure"}, (None, "unsure", None)),
        ({"instead": "other"}, (None, "other", None)),
        ({"instead": "other", "proposed_name": "inkcap"}, (None, "other", "inkcap")),
    ],
)
def test_a_nok_may_say_what_is_known_in_place_of_a_class(
    said: dict[str, str], stored: tuple[object, ...], user: FlaskClient, prediction: dict[str, Any], catalog: Catalog
) -> None:
    answer = user.post(f"/predictions/{prediction['id']}/feedback", json={"verdict": "nok", **said})
    assert answer.status_code == 200
    row = read(catalog, feedback)
    assert (row.corrected_label, row.instead, row.proposed_name) == stored


def test_a_proposed_name_that_is_known_counts_as_the_right_class(
    user: FlaskClient, prediction: dict[str, Any], catalog: Catalog
) -> None:
    known = names(prediction)[1]
    said = {"verdict": "nok", "instead": "other", "proposed_name": known}
    assert user.post(f"/predictions/{prediction['id']}/feedback", json=said).status_code == 200
    row = read(catalog, feedback)
    assert (row.corrected_label, row.instead, row.proposed_name) == (known, None, None)


def test_the_predicted_name_is_no_correction(expert: FlaskClient, prediction: dict[str, Any]) -> None:
    assert give(expert, prediction, "nok", names(prediction)[0]).status_code == 422


def test_a_label_that_only_an_image_has_is_known(
    expert: FlaskClient, prediction: dict[str, Any], catalog: Catalog
) -> None:
    put_label(catalog, "tricholoma", "curated")
    assert give(expert, prediction, "nok", "tricholoma").status_code == 200


def test_a_prediction_of_an_earlier_version_is_judged_by_that_versions_names(
    app: Flask, expert: FlaskClient, prediction: dict[str, Any], catalog: Catalog, serve_version: Callable[[int], None]
) -> None:
    serve_version(2)
    assert give(expert, prediction, "ok").status_code == 404  # version 1 was never registered here
    model = application_state.current(app).models.current
    assert model is not None
    with catalog.begin() as connection:
        row = {"version": 1, "mlflow_run_id": "run", "backbone_id": "t", "image_size": 32, "precision": "fp32"}
        connection.execute(sa.insert(model_versions).values(row | {"classes": list(model.card.classes)}))
    assert give(expert, prediction, "ok").json["effect"] == "confirmed"
    assert read(catalog).class_names == names(prediction)[:1]
