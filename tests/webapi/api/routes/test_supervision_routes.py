"""How good the model is, what is new since, and how training goes on: the routes of supervision."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from numpy.typing import NDArray

from ml.backbones.cpus import usable_cpus
from ml.backbones.preprocessing import to_pixels
from ml.catalog.database import Catalog
from ml.catalog.tables import evaluations, features, items, model_versions, results, snapshots
from ml.deadlines import Deadline
from ml.ingest.folder import ingest_folder
from ml.settings import Settings
from ml.tasks.classification.classifier import Classifier
from ml.tasks.task import Output
from tests.ml.image_rows import add_item
from webapi import application_state
from webapi.factory import create_app
from webapi.request_deadlines import current_deadline

FEW_SECONDS = 6.0
PRODUCTION = {"model_name": "mycoflow", "stage": "Production"}
ROUTES = [
    ("get", "/accuracy"),
    ("get", "/past_pred_acc?nb_last_preds=10"),
    ("get", "/nb_new_img?model_name=mycoflow&stage=Production"),
    ("post", "/finetune"),
]

Ingest = Callable[[range, int], None]
Png = Callable[[int], bytes]
Post = Callable[..., Any]
Serve = Callable[[int], None]


def count(catalog: Catalog, table: sa.Table) -> int:
    with catalog.begin() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def problem(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["type"].removeprefix("urn:mycoflow:problem:")


@pytest.fixture
def ingest_evaluation_set(app: Flask, catalog: Catalog, png: Png, tmp_path: Path) -> Ingest:
    """Puts images into the evaluation set: the first `right` of them with the label that the served model gives."""

    def ingest(numbers: range, right: int) -> None:
        model = application_state.current(app).models.current
        assert model is not None
        classes, folder = model.card.classes, tmp_path / f"evaluation-{numbers.start}"
        for position, number in enumerate(numbers):
            pixels = to_pixels(png(number), model.card.image_size)
            best = int(model.predict(pixels[np.newaxis]).probabilities[0].argmax())
            label = classes[best if position < right else (best + 1) % len(classes)]
            (folder / label).mkdir(parents=True, exist_ok=True)
            (folder / label / f"{number}.png").write_bytes(png(number))
        assert ingest_folder(catalog, folder, "evaluation").rejects == []

    return ingest


@pytest.fixture
def hurried(settings: Settings, app: Flask, serve_version: Serve) -> Iterator[Flask]:
    """Version 1 in an application whose requests may take a few seconds."""
    serve_version(1)
    model = application_state.current(app).models.current
    assert model is not None
    hurried = create_app(settings.model_copy(update={"request_seconds": FEW_SECONDS}))
    application_state.current(hurried).models.serve(model)
    yield hurried
    application_state.current(hurried).stop()


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of a model was about."""
    sizes: list[int] = []
    predict = Classifier.predict

    def noted(classifier: Classifier, pixels: NDArray[np.uint8]) -> Output:
        sizes.append(len(pixels))
        return predict(classifier, pixels)

    monkeypatch.setattr(Classifier, "predict", noted)
    return sizes


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[path.partition("?")[0] for _, path in ROUTES])
def test_supervision_is_for_admins(
    client: FlaskClient, user: FlaskClient, expert: FlaskClient, method: str, path: str
) -> None:
    assert [getattr(who, method)(path).status_code for who in (client, user, expert)] == [401, 403, 403]


def test_accuracy_is_the_share_of_the_evaluation_set_that_the_champion_names_right(
    admin: FlaskClient, serve_version: Serve, ingest_evaluation_set: Ingest
) -> None:
    serve_version(1)
    ingest_evaluation_set(range(7), 5)
    answer = admin.get("/accuracy")
    assert (answer.status_code, answer.data) == (200, b"71.43\n")


def test_a_second_look_at_the_accuracy_computes_nothing_and_new_images_cost_only_themselves(
    admin: FlaskClient, serve_version: Serve, ingest_evaluation_set: Ingest, computed: list[int], catalog: Catalog
) -> None:
    serve_version(1)
    ingest_evaluation_set(range(3), 3)
    ingest_evaluation_set(range(10, 12), 0)
    computed.clear()
    assert [admin.get("/accuracy").json for _ in range(2)] == [60.0, 60.0]
    assert computed == [5]
    ingest_evaluation_set(range(20, 23), 3)
    computed.clear()
    assert admin.get("/accuracy").json == 75.0
    assert computed == [3]
    assert count(catalog, evaluations) == 3


def test_another_champion_is_scored_by_its_own_head_on_the_features_that_are_there(
    admin: FlaskClient, serve_version: Serve, ingest_evaluation_set: Ingest, computed: list[int], catalog: Catalog
) -> None:
    serve_version(1)
    ingest_evaluation_set(range(4), 4)
    first = admin.get("/accuracy").json
    serve_version(2)
    computed.clear()
    second = admin.get("/accuracy").json
    assert (first, second in (0.0, 25.0, 50.0, 75.0, 100.0), computed) == (100.0, True, [])
    assert (count(catalog, results), count(catalog, features)) == (8, 4)


def test_accuracy_without_an_evaluation_set_says_how_to_get_one(admin: FlaskClient, serve_version: Serve) -> None:
    serve_version(1)
    answer: Any = admin.get("/accuracy")
    assert problem(answer) == (409, "no-evaluation-set")
    assert "--split evaluation" in answer.json["detail"]


def test_an_evaluation_set_of_other_classes_says_so(
    admin: FlaskClient, serve_version: Serve, ingest_evaluation_set: Ingest, catalog: Catalog
) -> None:
    serve_version(1)
    ingest_evaluation_set(range(2), 2)
    with catalog.begin() as connection:
        connection.execute(sa.update(items).values(class_names=["chlorophyllum"]))
    answer: Any = admin.get("/accuracy")
    assert problem(answer) == (409, "no-evaluation-set")
    assert "'amanita', 'boletus'" in answer.json["detail"]


@pytest.mark.parametrize("path", [path for method, path in ROUTES if method == "get" and "preds" not in path])
def test_without_a_model_in_production_there_is_nothing_to_supervise(admin: FlaskClient, path: str) -> None:
    answer = admin.get(path)
    assert problem(answer) == (503, "no-model")
    assert int(answer.headers["Retry-After"]) > 0


def test_scoring_stops_when_the_request_has_had_its_time_and_the_next_one_goes_on_there(
    hurried: Flask,
    log_in: Callable[..., FlaskClient],
    ingest_evaluation_set: Ingest,
    computed: list[int],
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ingest_evaluation_set(range(40), 30)
    admin = log_in("admin", application=hurried)
    computed.clear()
    predict = Classifier.predict

    def predict_slowly(classifier: Classifier, pixels: NDArray[np.uint8]) -> Output:
        time.sleep(current_deadline().remaining())
        return predict(classifier, pixels)

    with monkeypatch.context() as slow:
        slow.setattr(Classifier, "predict", predict_slowly)
        answer = admin.get("/accuracy")
    assert problem(answer) == (503, "scoring-unfinished")
    assert int(answer.headers["Retry-After"]) > 0
    assert (computed, count(catalog, features), count(catalog, evaluations)) == ([32], 32, 0)
    assert admin.get("/accuracy").json == 75.0
    assert computed == [32, 8]


def test_scoring_waits_for_its_turn_with_the_model(
    hurried: Flask, log_in: Callable[..., FlaskClient], ingest_evaluation_set: Ingest
) -> None:
    ingest_evaluation_set(range(2), 2)
    admin = log_in("admin", application=hurried)
    with ExitStack() as others:
        for _ in range(usable_cpus()):
            others.enter_context(application_state.current(hurried).admission.computing.enter(Deadline(1)))
        assert problem(admin.get("/accuracy")) == (503, "busy")
    assert admin.get("/accuracy").json == 100.0


def test_past_confidence_is_the_mean_of_the_last_predictions_that_exist(
    admin: FlaskClient, post: Post, png: Png, serve_version: Serve
) -> None:
    serve_version(1)
    sure = [post(png(number)).json["results"][0]["proba"] for number in (1, 2, 1)]

    def ask(last: int) -> Any:
        return admin.get(f"/past_pred_acc?nb_last_preds={last}").json

    assert ask(1) == sure[2] == sure[0] != sure[1]
    assert ask(2) == pytest.approx((sure[1] + sure[2]) / 2, abs=0.011)
    assert ask(999_999_999) == ask(3) == pytest.approx(sum(sure) / 3, abs=0.011)
    assert ask(3) == round(ask(3), 2)


def test_scoring_the_evaluation_set_is_no_prediction(
    admin: FlaskClient, serve_version: Serve, ingest_evaluation_set: Ingest
) -> None:
    serve_version(1)
    ingest_evaluation_set(range(2), 2)
    admin.get("/accuracy")
    assert problem(admin.get("/past_pred_acc?nb_last_preds=5")) == (404, "no-predictions")


@pytest.mark.parametrize(
    "query", ["", "nb_last_preds=", "nb_last_preds=0", "nb_last_preds=-1", "nb_last_preds=ten", "nb_last_preds=1.5",
              "nb_last_preds=1_0", "nb_last_preds=²", "nb_last_preds=true", "nb_last_preds=9999999999"],
)  # fmt: skip
def test_a_count_that_is_none_is_refused(admin: FlaskClient, query: str) -> None:
    answer: Any = admin.get(f"/past_pred_acc?{query}")
    assert problem(answer) == (422, "invalid-request")
    assert "nb_last_preds" in answer.json["detail"]


@pytest.fixture
def add_pool_images(catalog: Catalog) -> Callable[[datetime, int, str], None]:
    """Writes rows of images that entered the pool at a moment."""

    def add(entered_pool_at: datetime, how_many: int, label_origin: str) -> None:
        known = count(catalog, items)
        member = {"split": "pool", "class_names": ["amanita"], "label_origin": label_origin}
        with catalog.begin() as connection:
            for number in range(how_many):
                add_item(connection, f"{known + number:064x}", entered_pool_at=entered_pool_at, **member)

    return add


@pytest.mark.parametrize("stage", ["Production", "production", "PRODUCTION"])
def test_new_images_are_those_after_the_snapshot_of_the_version_in_production(
    admin: FlaskClient,
    serve_version: Serve,
    add_pool_images: Callable[[datetime, int, str], None],
    catalog: Catalog,
    stage: str,
) -> None:
    cutoff = datetime(2026, 1, 1, tzinfo=UTC)
    serve_version(1)
    snapshot = {"requested_size": 1000, "strategy": "newest", "classes": ["amanita"], "pool_state": "test"}
    version = {"version": 1, "mlflow_run_id": "run", "backbone_id": "t", "image_size": 32, "precision": "fp32"}
    with catalog.begin() as connection:
        made = sa.insert(snapshots).values(cutoff=cutoff, **snapshot).returning(snapshots.c.id)
        snapshot_id = connection.execute(made).scalar_one()
        row = {**version, "classes": ["amanita"], "snapshot_id": snapshot_id}
        connection.execute(sa.insert(model_versions).values(row))
    add_pool_images(cutoff, 3, "curated")
    add_pool_images(cutoff + timedelta(seconds=1), 2, "confirmed")
    add_pool_images(cutoff + timedelta(days=1), 4, "harvested")
    answer = admin.get("/nb_new_img", query_string={"model_name": "mycoflow", "stage": stage})
    # Of the harvested ones, as many as make 30 % of the class.
    assert (answer.status_code, answer.data) == (200, b"4\n")


def test_a_model_that_was_made_elsewhere_knows_the_pool_as_it_was_when_it_came(
    admin: FlaskClient, serve_version: Serve, add_pool_images: Callable[[datetime, int, str], None]
) -> None:
    serve_version(1)
    add_pool_images(datetime.now(UTC) - timedelta(minutes=1), 3, "curated")
    assert admin.get("/nb_new_img", query_string=PRODUCTION).json == 0
    add_pool_images(datetime.now(UTC) + timedelta(minutes=1), 2, "curated")
    assert admin.get("/nb_new_img", query_string=PRODUCTION).json == 2


@pytest.mark.parametrize(
    "query", [{}, {"model_name": "mycoflow"}, {"stage": "Production"}, {**PRODUCTION, "stage": ""}]
)
def test_model_and_stage_must_be_named(admin: FlaskClient, query: dict[str, str]) -> None:
    assert problem(admin.get("/nb_new_img", query_string=query)) == (422, "invalid-request")


def test_another_model_than_ours_is_unknown(admin: FlaskClient, serve_version: Serve) -> None:
    serve_version(1)
    answer: Any = admin.get("/nb_new_img", query_string={**PRODUCTION, "model_name": "resnet"})
    assert problem(answer) == (404, "unknown-version")
    assert "mycoflow" in answer.json["detail"]


GOOD = {**PRODUCTION, "variables": 3, "epochs": 5}


@pytest.mark.parametrize(
    "wrong",
    [
        {"variables": "0"}, {"variables": "three"}, {"variables": "1.5"}, {"variables": ""},
        {"epochs": "0"}, {"epochs": "101"}, {"epochs": "-1"}, {"epochs": "²"}, {"model_name": ""}, {"stage": ""},
        {"stage": "x" * 201},
    ],
    ids=str,
)  # fmt: skip
def test_a_finetuning_that_means_nothing_is_refused_as_json_and_as_a_form(
    admin: FlaskClient, wrong: dict[str, str]
) -> None:
    (name,) = wrong
    for answer in (admin.post("/finetune", json=GOOD | wrong), admin.post("/finetune", data=GOOD | wrong)):
        said: Any = answer
        assert problem(said) == (422, "invalid-request")
        assert said.json["detail"].startswith(name)


@pytest.mark.parametrize(
    "wrong",
    [{"variables": 0}, {"variables": 1.5}, {"variables": True}, {"variables": None}, {"epochs": [5]}, {"stage": 1}],
    ids=str,
)
def test_json_of_another_type_is_refused(admin: FlaskClient, wrong: dict[str, object]) -> None:
    assert problem(admin.post("/finetune", json=GOOD | wrong)) == (422, "invalid-request")


@pytest.mark.parametrize("name", GOOD)
def test_a_finetuning_needs_all_of_its_parameters(admin: FlaskClient, name: str) -> None:
    body = {key: value for key, value in GOOD.items() if key != name}
    for answer in (admin.post("/finetune", json=body), admin.post("/finetune", data=body)):
        assert problem(answer) == (422, "invalid-request")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"a"', b"\xff"])
def test_a_body_that_is_no_object_is_refused(admin: FlaskClient, body: bytes) -> None:
    assert problem(admin.post("/finetune", data=body, content_type="application/json"))[0] == 422


@pytest.mark.parametrize("layers", [1, 13])
def test_without_airflow_a_good_request_is_told_what_to_configure(admin: FlaskClient, layers: int) -> None:
    body = {**GOOD, "variables": layers}
    for answer in (admin.post("/finetune", json=body), admin.post("/finetune", data=body)):
        said: Any = answer
        assert problem(said) == (503, "airflow-not-configured")
        assert "MYCOFLOW_AIRFLOW_URL" in said.json["detail"]
