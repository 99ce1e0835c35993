"""A new task needs one module and one line in `registered_tasks.py`. Then a night runs, and the service answers."""

import io
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from ml import cycle
from ml.app import Workspace, load_version, open_workspace
from ml.catalog.accounts.tokens import issue_token
from ml.catalog.annotations import Annotation
from ml.catalog.database import open_catalog
from ml.catalog.images.batches import find_waiting, load_batch
from ml.catalog.items.item_records import Split
from ml.catalog.models.evaluations import latest_evaluation
from ml.catalog.tables import accounts, items, monitorings, results
from ml.data.membership import read_states
from ml.data.snapshot_export import export_snapshot
from ml.errors import ModelLoadError, SettingsError
from ml.ingest.folder import ingest_folder
from ml.ingest.sources.drop_folder import SETTLED_SECONDS
from ml.reporting.report.page import make_report
from ml.settings import Settings
from ml.tasks.task import demand_converting
from ml.training.recipes import Finetune, Retrain, Tune
from tests import multi_label_task
from tests.application import application_as_web
from tests.deployments import Origin, copy_deployment, drop_deployment
from webapi import application_state

COLOURS = {"blue": (40, 60, 230), "green": (40, 200, 60), "red": (230, 50, 40)}
SHOWN = [names for count in (1, 2, 3) for names in combinations(COLOURS, count)]
SIZE = 32


def draw(names: tuple[str, ...], random: np.random.Generator) -> bytes:
    """Draw one patch of each colour on random grey squares. No patches overlap, and no two images are copies."""
    pixels = np.repeat(np.kron(random.integers(40, 200, (8, 8)), np.ones((4, 4)))[..., np.newaxis], 3, axis=2)
    corners = random.permutation([(0, 0), (0, 16), (16, 0), (16, 16)])
    for name, (top, left) in zip(names, corners, strict=False):
        height, width = random.integers(10, 16, 2)
        pixels[top : top + height, left : left + width] = COLOURS[name]
    noisy = pixels + random.normal(0, 5, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def write_settled(path: Path, content: bytes) -> None:
    """Write a file that a drop folder offers at once."""
    path.write_bytes(content)
    long_ago = time.time() - 2 * SETTLED_SECONDS
    os.utime(path, (long_ago, long_ago))


def write_pictures(folder: Path, count: int, seed: int) -> None:
    """As many of each combination of colours, in a folder that names all of them."""
    random = np.random.default_rng(seed)
    for names in SHOWN:
        (folder / ", ".join(names)).mkdir(parents=True)
        for number in range(count):
            write_settled(folder / ", ".join(names) / f"{number}.png", draw(names, random))


def take_in(workspace: Workspace, folder: Path, split: Split, count: int, seed: int) -> None:
    write_pictures(folder, count, seed)
    report = ingest_folder(workspace.catalog, folder, split, mirrored=False, reader=workspace.task)
    assert (report.accepted, report.rejects) == (count * len(SHOWN), [])


@pytest.fixture
def settings(empty: Origin, server_home: Path, tmp_path: Path) -> Iterator[Settings]:
    """A deployment with another task and another model name. It harvests confident answers."""
    made = copy_deployment(empty, server_home, tmp_path / "home")
    update = {
        "task": multi_label_task.NAME,
        "model_name": "colours",
        "harvest_confidence": 0.6,
        "model_precision": "int8",
        "int8_minimum_agreement": 0.9,  # the layers are random: an image that shows two colours is a close call
    }
    yield made.model_copy(update=update)
    drop_deployment(made, server_home)


@pytest.fixture
def colours(settings: Settings, tmp_path: Path) -> Iterator[Workspace]:
    with open_workspace(settings) as workspace:
        take_in(workspace, tmp_path / "evaluation", "evaluation", 6, seed=0)
        take_in(workspace, tmp_path / "pool", "pool", 20, seed=1)
        yield workspace


def log_in(workspace: Workspace, role: str) -> dict[str, str]:
    """The headers of a request of a new account."""
    with workspace.catalog.begin() as connection:
        row = sa.insert(accounts).values(login=role, role=role, password_hash="none").returning(accounts.c.id)
        token = issue_token(connection, connection.execute(row).scalar_one(), timedelta(hours=1)).token
    return {"Authorization": f"Bearer {token}"}


def ask_the_service(workspace: Workspace, settings: Settings, image: bytes) -> dict[str, Any]:
    headers = log_in(workspace, "user")
    with application_as_web(settings) as app:
        application_state.current(app).models.poll()
        data = {"file": (io.BytesIO(image), "colours.png")}
        answer: Any = app.test_client().post("/predictions?nb_preds=3", data=data, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json)


@pytest.mark.heavy
def test_a_night_of_another_task_ends_with_a_version_that_the_service_serves(
    colours: Workspace, settings: Settings, tmp_path: Path
) -> None:
    first = cycle.retrain(colours, "first", "test", Retrain(snapshot_size=200))
    assert (first.production_version, first.verdict.decision) == (1, "promote")
    card = load_version(colours, 1).card
    assert (card.task, card.classes) == (multi_label_task.NAME, tuple(COLOURS))
    assert (card.precision, card.precision_reason[:11]) == ("int8", "int8 gives ")
    (version,) = colours.registry.versions()
    assert (colours.registry.model_name, version.tags["task"]) == ("colours", multi_label_task.NAME)
    assert version.tags["sample_images"] == "42"  # what the task writes on a run is on the version's page
    assert float(version.tags["f1_samples"]) == pytest.approx(first.verdict.challenger_figure, abs=1e-4)
    with colours.catalog.begin() as connection:
        evaluation = latest_evaluation(connection, 1)
    assert evaluation is not None
    assert evaluation.main_figure > 0.8
    assert evaluation.figures.keys() == {"f1_samples", "exact_match"}
    assert 0 < evaluation.figures["exact_match"] <= evaluation.figures["f1_samples"] == evaluation.main_figure
    assert (evaluation.accuracy, evaluation.confusion) == (None, None)
    assert {name: each["image_count"] for name, each in evaluation.per_class.items()} == dict.fromkeys(COLOURS, 24)

    take_in(colours, tmp_path / "later", "pool", 15, seed=2)
    assert cycle.monitor(colours).reasons == ["105 new images reach the threshold of 100."]
    with colours.catalog.begin() as connection:
        (kept,) = connection.scalars(sa.select(monitorings.c.figures))
    assert set(kept) == {"precision_macro", "recall_macro", "f1_macro"}
    drift = cycle.measure_drift(colours)
    assert drift.reference_features >= 20
    assert drift.estimated_accuracy is None  # nothing is calibrated where an item may have several classes
    second = cycle.retrain(colours, "second", "test", Retrain(snapshot_size=200))
    assert second.verdict.champion_version == 1
    assert second.production_version == (2 if second.verdict.decision == "promote" else 1)

    page = make_report(colours.catalog, settings)
    assert '<td class="name">green</td>' in page
    assert "F1 samples, night by night" in page
    assert '<th scope="col" class="number">Exact match</th>' in page
    assert not [word for word in ("onfusion", "95% interval") if word in page]

    shown = ("blue", "red")
    answered = ask_the_service(colours, settings, draw(shown, np.random.default_rng(3)))
    assert answered["model"] == {"name": "colours", "version": second.production_version}
    assert {each["name"] for each in answered["results"] if each["is_found"]} == set(shown)
    assert answered["results"][2]["name"] == "green"
    with colours.catalog.begin() as connection:
        asked = items.join(results).select().where(items.c.source == "upload")
        row = connection.execute(asked).one()
    assert row.answer == {"found": list(shown)}
    assert row.top_class == answered["results"][0]["name"]
    assert row.margin == pytest.approx(
        (answered["results"][0]["proba"] - answered["results"][1]["proba"]) / 100, abs=0.01
    )
    assert (row.class_names, row.label_origin) == (list(shown), "harvested")


def test_what_a_label_means_is_the_task_s_word(settings: Settings, tmp_path: Path) -> None:
    """In the folders of a source, in what an admin says, and in what is written out."""
    source, both = tmp_path / "source", ("blue", "red")
    write_pictures(source, 20, seed=4)
    (source / "red, red").mkdir()
    write_settled(source / "red, red" / "bad.png", draw(both, np.random.default_rng(5)))
    with open_workspace(settings) as workspace:
        (batch_id,) = cycle.ingest(workspace, str(source)).batch_ids
        with workspace.catalog.begin() as connection:
            batch = load_batch(connection, batch_id)
            waiting = find_waiting(connection, [batch_id])
            states = read_states(connection, waiting)
        assert batch.counts["rejected"] == 1
        assert Counter(state.annotation for state in states.values()) == {Annotation(names): 20 for names in SHOWN}
        item_id = next(each for each, state in states.items() if state.annotation == Annotation(("green",)))
        changes = [{"action": "certify", "sha256": each} for each in waiting]
        changes.append({"action": "relabel", "sha256": item_id, "label": "red, blue"})
        with application_as_web(settings) as app:
            client, headers = app.test_client(), log_in(workspace, "admin")
            answer = client.post("/data/update", json={"changes": changes}, headers=headers)
            assert answer.json["changes"][-1]["after"]["label"] == "blue, red"
            changes = [{"action": "relabel", "sha256": item_id, "label": "red, red"}]
            refused = client.post("/data/update", json={"changes": changes}, headers=headers)
            assert (refused.status_code, refused.json["type"]) == (422, "urn:mycoflow:problem:invalid-request")
        with workspace.catalog.begin() as connection:
            assert read_states(connection, [item_id])[item_id].annotation == Annotation(both)
        cycle.take_snapshot(workspace, "first", "test", Retrain(snapshot_size=100))
        export_snapshot(workspace.catalog, 1, tmp_path / "export")
    entries = json.loads((tmp_path / "export" / "manifest.json").read_text())["images"]
    assert {Path(entry["file"]).parent.name for entry in entries} == {", ".join(names) for names in SHOWN}
    assert {workspace.task.read_label(entry["label"]).class_names for entry in entries} == set(SHOWN)


@contextmanager
def start_service(settings: Settings) -> Iterator[None]:
    with application_as_web(settings) as app:
        application_state.current(app).start()
        yield


@pytest.mark.parametrize("opened", [open_workspace, open_catalog, start_service])
def test_a_home_refuses_another_task_and_another_model_name(
    opened: Callable[[Settings], AbstractContextManager[object]],
    colours: Workspace,
    settings: Settings,
    free_port: Callable[[], int],
) -> None:
    cycle.take_snapshot(colours, "first", "test", Retrain(snapshot_size=100))
    settings = settings.model_copy(update={"metrics_port": free_port()})
    for update, name in (
        ({"task": "classification"}, "MYCOFLOW_TASK=multi_label"),
        ({"model_name": "other"}, "MODEL_NAME=colours"),
    ):
        with pytest.raises(SettingsError, match=name), opened(settings.model_copy(update=update)):
            pass
    with opened(settings):
        pass


def test_a_training_that_the_task_does_not_have_is_refused(colours: Workspace) -> None:
    with pytest.raises(SettingsError, match=r"with a fine-tuning\. Received: MYCOFLOW_TASK=multi_label"):
        cycle.take_snapshot(colours, "first", "test", Finetune(100, layers=1, epochs=1))
    with pytest.raises(SettingsError, match="with a search for hyperparameters"):
        cycle.take_snapshot(colours, "second", "test", Tune(100, trials=1))
    with pytest.raises(ModelLoadError, match="with a conversion of foreign networks"):
        demand_converting(colours.task)


def test_a_task_that_nobody_registered_is_refused_by_every_command(settings: Settings) -> None:
    refused = settings.model_copy(update={"task": "detection"})
    with pytest.raises(SettingsError, match=r"classification.*Received: 'detection'"), open_workspace(refused):
        pass
