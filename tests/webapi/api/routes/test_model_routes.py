"""The model versions over HTTP, with the real MLflow: what there is, and which of them is in production."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from ml.app import open_registry
from ml.catalog.database import Catalog
from ml.catalog.models import journal
from ml.catalog.tables import evaluation_sets, evaluations, model_versions, promotions, snapshots
from ml.registry.mlflow_registry import Registry
from ml.settings import Settings
from webapi import application_state
from webapi.factory import create_app

FOLLOW_SECONDS = 60.0
Register = Callable[[int], int]
Png = Callable[[int], bytes]


@pytest.fixture
def settings(settings: Settings, mlflow_uri: str) -> Settings:
    """With an MLflow, at whose alias the service looks only when it is told to."""
    return settings.model_copy(update={"mlflow_tracking_uri": mlflow_uri, "alias_poll_seconds": 3600})


@pytest.fixture
def registry(settings: Settings) -> Registry:
    return open_registry(settings)


@pytest.fixture
def register(registry: Registry, write_bundle: Callable[[Path, int], Path], tmp_path: Path) -> Register:
    """Registers the next version; its seed makes its head."""

    def register(seed: int) -> int:
        with registry.start_run(attempt_id=seed) as run:
            run.log_model(write_bundle(tmp_path / f"logged-{seed}", seed))
        return registry.register(run.mlflow_run_id, {"verdict": "pending"})

    return register


@pytest.fixture
def two_versions(register: Register, registry: Registry) -> None:
    """Version 1 is in production, version 2 is not."""
    assert [register(1), register(2)] == [1, 2]
    registry.set_champion(1)


def update(admin: FlaskClient, **body: object) -> Any:
    return admin.post("/model/update", json=body)


def problem(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["type"].removeprefix("urn:mycoflow:problem:")


def moves(catalog: Catalog) -> list[tuple[str, int | None, int | None]]:
    with catalog.begin() as connection:
        rows = connection.execute(sa.select(promotions).order_by(promotions.c.id)).all()
    assert all(row.completed_at for row in rows)
    return [(row.kind, row.from_version, row.to_version) for row in rows]


@pytest.mark.parametrize(("method", "path"), [("get", "/models"), ("post", "/model/update")])
def test_the_models_are_for_admins(
    client: FlaskClient, user: FlaskClient, expert: FlaskClient, method: str, path: str
) -> None:
    assert [getattr(who, method)(path).status_code for who in (client, user, expert)] == [401, 403, 403]


def test_before_the_first_model_the_list_is_empty(admin: FlaskClient) -> None:
    answer = admin.get("/models")
    assert (answer.status_code, answer.json) == (200, [])


@pytest.mark.usefixtures("two_versions")
def test_the_list_says_what_is_known_of_each_version(admin: FlaskClient, registry: Registry, catalog: Catalog) -> None:
    registry.tag_version(1, {"verdict": "promote"})
    snapshot = {"requested_size": 1000, "strategy": "newest", "classes": ["amanita"], "pool_state": "test"}
    version = {"version": 1, "mlflow_run_id": "run", "backbone_id": "t", "image_size": 32, "precision": "fp32"}
    figures = {"part": "anchor", "is_deciding": True, "image_count": 3, "per_class": {}, "confusion": []}
    figures |= {"main_figure": 2 / 3, "accuracy": 2 / 3, "precision_macro": 0.5, "recall_macro": 0.5, "f1_macro": 0.5}
    with catalog.begin() as connection:
        made = sa.insert(snapshots).values(cutoff=sa.func.now(), **snapshot).returning(snapshots.c.id)
        snapshot_id = connection.execute(made).scalar_one()
        row = {**version, "classes": ["amanita"], "snapshot_id": snapshot_id}
        connection.execute(sa.insert(model_versions).values(row))
        scored = sa.insert(evaluation_sets).values(content_sha256="c").returning(evaluation_sets.c.version)
        row = {**figures, "model_version": 1, "evaluation_set_version": connection.execute(scored).scalar_one()}
        connection.execute(sa.insert(evaluations).values(row))
    answer: Any = admin.get("/models")
    assert answer.status_code == 200
    second, first = answer.json
    assert (second.pop("registered_at") > first.pop("registered_at")) is True
    assert first == {
        "version": 1,
        "alias": "production",
        "served": False,
        "load_error": None,
        "verdict": "promote",
        "reasons": [],
        "accuracy": 66.67,
        "snapshot": snapshot_id,
    }
    unknown = {
        "alias": None,
        "served": False,
        "load_error": None,
        "verdict": "pending",
        "reasons": [],
        "accuracy": None,
        "snapshot": None,
    }
    assert second == {"version": 2, **unknown}


@pytest.mark.usefixtures("two_versions")
def test_a_chosen_version_goes_into_production_and_the_service_follows(
    app: Flask, admin: FlaskClient, registry: Registry, catalog: Catalog, post: Callable[..., Any], png: Png
) -> None:
    models = application_state.current(app).models
    models.start()
    wait_until_served(models, 1)
    answer = update(admin, version=2)
    assert (answer.status_code, answer.json) == (200, {"version": 2, "is_promotion_held": False})
    assert registry.champion() == 2
    assert moves(catalog) == [("external", None, 1), ("promotion", 1, 2)]
    with catalog.begin() as connection:
        actor = connection.execute(sa.select(promotions.c.actor).order_by(promotions.c.id.desc()).limit(1)).scalar_one()
    assert actor.startswith("account:")
    wait_until_served(models, 2)
    assert post(png(1)).json["model"] == {"name": "mycoflow", "version": 2}


def wait_until_served(models: Any, version: int) -> None:
    deadline = time.monotonic() + FOLLOW_SECONDS
    while models.current is None or models.current.version != version:
        assert time.monotonic() < deadline, f"version {version} is not served"
        time.sleep(0.05)


@pytest.mark.usefixtures("two_versions")
def test_choosing_what_is_in_production_changes_nothing(admin: FlaskClient, catalog: Catalog) -> None:
    answers = [update(admin, version=1) for _ in range(2)]
    assert [(answer.status_code, answer.json["version"]) for answer in answers] == [(200, 1)] * 2
    assert moves(catalog) == [("external", None, 1)]


@pytest.mark.usefixtures("two_versions")
def test_a_rollback_brings_the_version_before_back_and_holds_promotion_until_it_is_released(
    admin: FlaskClient, registry: Registry, catalog: Catalog
) -> None:
    update(admin, version=2)
    answer = update(admin, rollback=True)
    assert (answer.status_code, answer.json) == (200, {"version": 1, "is_promotion_held": True})
    assert registry.champion() == 1
    assert update(admin, version=2).json == {"version": 2, "is_promotion_held": True}
    assert update(admin, release=True).json == {"version": 2, "is_promotion_held": False}
    assert [kind for kind, _, _ in moves(catalog)] == ["external", "promotion", "rollback", "promotion", "release"]
    with catalog.begin() as connection:
        assert journal.is_held(connection) is False


@pytest.mark.usefixtures("two_versions")
def test_there_is_nothing_to_go_back_to_from_the_first_version(admin: FlaskClient, registry: Registry) -> None:
    answer = update(admin, rollback=True)
    assert problem(answer) == (409, "promotion")
    assert "in production now: 1" in answer.json["detail"]
    assert registry.champion() == 1


def test_without_any_version_there_is_nothing_to_choose_or_go_back_to(admin: FlaskClient) -> None:
    assert problem(update(admin, rollback=True)) == (409, "promotion")
    assert problem(update(admin, version=1)) == (404, "unknown-version")
    assert update(admin, release=True).json == {"version": None, "is_promotion_held": False}


def damage(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"damaged")


def lose_a_file(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()


def lose_everything(bundle: Path) -> None:
    shutil.rmtree(bundle)


@pytest.mark.usefixtures("two_versions")
@pytest.mark.parametrize("spoil", [damage, lose_a_file, lose_everything])
def test_a_version_that_does_not_load_is_refused_and_nothing_moves(
    admin: FlaskClient, settings: Settings, registry: Registry, catalog: Catalog, spoil: Callable[[Path], None]
) -> None:
    logged = (settings.mycoflow_home / "mlflow").rglob("model.onnx")
    (newest, _) = sorted(logged, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    spoil(newest.parent)
    answer = update(admin, version=2)
    assert problem(answer) == (409, "model-does-not-load")
    assert registry.champion() == 1
    assert [kind for kind, _, _ in moves(catalog)] == []


@pytest.mark.usefixtures("two_versions")
@pytest.mark.parametrize("version", [3, 2**31 - 1])
def test_an_unknown_version_is_refused(admin: FlaskClient, registry: Registry, catalog: Catalog, version: int) -> None:
    answer = update(admin, version=version)
    assert problem(answer) == (404, "unknown-version")
    assert str(version) in answer.json["detail"]
    assert (registry.champion(), moves(catalog)) == (1, [])


MEANINGLESS = [
    None, [], {}, 1, "2", {"version": 0}, {"version": -1}, {"version": 2**31}, {"version": "2"}, {"version": 2.0},
    {"version": True}, {"version": None}, {"rollback": False}, {"rollback": "yes"}, {"rollback": 1},
    {"release": False}, {"version": 1, "rollback": True}, {"rollback": True, "release": True}, {"stage": "None"},
]  # fmt: skip


def test_an_update_that_means_nothing_or_two_things_is_refused(admin: FlaskClient) -> None:
    answers = [(body, problem(admin.post("/model/update", json=body))) for body in MEANINGLESS]
    assert answers == [(body, (422, "invalid-request")) for body in MEANINGLESS]


def test_without_mlflow_both_are_told_to_come_back(
    settings: Settings, log_in: Callable[..., FlaskClient], free_port: Callable[[], int]
) -> None:
    nowhere = f"http://mlflow:secret@127.0.0.1:{free_port()}"
    cut_off = create_app(settings.model_copy(update={"mlflow_tracking_uri": nowhere}))
    admin = log_in("admin", application=cut_off)
    try:
        for answer in (admin.get("/models"), update(admin, version=1), update(admin, rollback=True)):
            said: Any = answer
            assert problem(said) == (503, "registry-unavailable")
            assert int(said.headers["Retry-After"]) > 0
            assert urlsplit(nowhere).netloc.rpartition("@")[2] in said.json["detail"]
            assert "secret" not in said.json["detail"]
    finally:
        application_state.current(cut_off).stop()
